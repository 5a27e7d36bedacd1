/** The data file under queues of large packets: what was freed is used again. */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import type { KvWrite } from '../../src/store/store.js'
import { dataDir } from '../helpers/gateway.js'

/** Each packet is a row in each of so many queues, and each queue keeps so many. */
const QUEUES = 95
const KEPT = 4
const PACKETS = 40

t.test('large rows that come and go do not make the file grow', async t => {
  const dir = join(dataDir(t), 'store')
  const open = async () => {
    const store = new EmbeddedStore({ dir, durability: 'commit', dedupWindowMs: 0 })
    await store.open()
    return store
  }
  const size = () => statSync(join(dir, 'data.mdb')).size
  let store = await open()
  const queues = Array.from({ length: QUEUES }, (_, i) => `queue ${i}`)
  const packets = async (from: number, to: number) => {
    for (let n = from; n < to; n++) {
      const value = Buffer.alloc(100_000 + ((n * 104_729) % 250_000), 'x')
      const rows: KvWrite[] = queues.flatMap(queue => [
        { put: 'queue', key: [queue, n], value },
        { remove: 'queue', key: [queue, n - KEPT] },
      ])
      await store.kv.kvWrite(rows)
    }
  }
  // Holes of a page each, of which the list has thousands.
  const small = Array.from(
    { length: 6000 },
    (_, i): KvWrite => ({
      ...{ put: 'meta', key: ['room', i], value: Buffer.alloc(3000) },
    }),
  )
  await store.kv.kvWrite(small)
  await packets(0, PACKETS)
  const holes = small.filter((_, i) => i % 3 === 0)
  await store.kv.kvWrite(holes.map(({ key }) => ({ remove: 'meta', key })))
  await store.close()
  // The list of free pages is read anew.
  store = await open()
  t.teardown(() => store.close())
  await packets(PACKETS, PACKETS + KEPT)
  const before = size()
  await packets(PACKETS + KEPT, 2 * PACKETS)
  t.ok(size() < 1.6 * before, `${before >> 20} MiB, then ${size() >> 20}`)
})
