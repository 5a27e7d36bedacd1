/** The data file made small: all is there afterwards, nothing of what was deleted, and a failure changes nothing. */
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { compactFile } from '../../src/store/embedded/compact.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import { Verification } from '../../src/store/verify.js'
import { dataDir } from '../helpers/gateway.js'
import { ofKind } from '../helpers/kind.js'
import { ANN, BOB, EVE, message, user } from '../helpers/store-samples.js'

const storeAt = (dir: string) => new EmbeddedStore({ dir, durability: 'commit', dedupWindowMs: 1000 })

const secret = (id: string) => message(BOB, id, { text: `{"content":"secret of ${id} ${'x'.repeat(200)}"}` })

t.test('what was deleted leaves no byte, and all else is there', async t => {
  const dir = join(dataDir(t), 'store')
  const store = storeAt(dir)
  await store.open()
  for (const id of [ANN, BOB, EVE]) await store.users.createUser(user(id, { username: `u${id}` }))
  for (let i = 0; i < 500; i++) await store.inbox.append([secret(ANN), secret(EVE)])
  await store.users.deleteUser(EVE)
  const rows = await store.inbox.readInbox(ANN, 0, 1000)
  const { before, after } = await store.compact()
  await store.close()
  t.equal(statSync(join(dir, 'data.mdb')).size, after)
  t.ok(after < before / 2, `${before} bytes, then ${after}`)
  t.same(readdirSync(dir).sort(), ['closed', 'data.mdb', 'lock.mdb'], 'and no other file is left')
  const bytes = readFileSync(join(dir, 'data.mdb'), 'latin1')
  t.notMatch(bytes, `secret of ${EVE}`)
  t.notMatch(bytes, `${EVE}@`, 'nor its email')
  t.match(bytes, `secret of ${ANN}`, 'where others are readable')
  const again = storeAt(dir)
  await again.open()
  t.strictSame(await again.inbox.readInbox(ANN, 0, 1000), rows)
  t.same((await new Verification(again).run()).faults, [])
  await again.inbox.append([message(BOB, ANN)])
  t.equal(await again.inbox.lastSeq(ANN), 501)
  await again.close()
})

t.test('a failure leaves the old file, and the next open removes what a kill left', async t => {
  const dir = join(dataDir(t), 'store')
  const store = storeAt(dir)
  await store.open()
  await store.users.createUser(user(ANN))
  await store.close()
  const file = join(dir, 'data.mdb')
  const bytes = readFileSync(file)
  const full = Object.assign(new Error('disk full'), { code: 'ENOSPC', errno: -28 })
  await t.rejects(
    compactFile(dir, () => Promise.reject(full)),
    ofKind('STORE_FULL'),
  )
  const cut = async (folder: string) => writeFileSync(join(folder, 'data.mdb'), bytes.subarray(0, 9000))
  await t.rejects(compactFile(dir, cut), ofKind('STORE_UNAVAILABLE'), 'a copy that is not whole')
  t.ok(readFileSync(file).equals(bytes))
  mkdirSync(join(dir, 'compact.part-x'))
  writeFileSync(join(dir, 'compact.part-x', 'data.mdb'), bytes.subarray(0, 100))
  writeFileSync(join(dir, 'restore.part'), 'x')
  await store.open()
  await store.close()
  t.same(readdirSync(dir).sort(), ['closed', 'data.mdb', 'lock.mdb'])
})
