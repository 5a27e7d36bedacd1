/** What somebody removed or cut by hand is told from what a store leaves by itself, after a kill and after a close. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { bootId } from '../../src/store/embedded/boot-id.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import { dataDir } from '../helpers/gateway.js'
import { ofKind } from '../helpers/kind.js'
import { plainNode } from '../helpers/plain-node.js'
import { ANN, BOB, message } from '../helpers/store-samples.js'

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url))

const storeAt = (dir: string) => new EmbeddedStore({ dir, durability: 'commit', dedupWindowMs: 1000 })

/** A folder that a killed process left, with messages in the journal. @returns the last that was acknowledged, too */
async function killed(t: Test) {
  const dir = join(dataDir(t), 'store')
  const args = [
    '--import',
    path('../../scripts/typescript.mjs'),
    path('../helpers/store-child.ts'),
    dir,
    'append',
  ]
  const child: ChildProcess = spawn(...plainNode(args), { stdio: ['ignore', 'pipe', 'ignore'] })
  t.teardown(() => child.kill('SIGKILL'))
  let last = 0
  for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream })) {
    last = JSON.parse(line)
    // Commits of LMDB are among them.
    if (last > 5000) break
  }
  child.kill('SIGKILL')
  await once(child, 'exit')
  return { dir, last }
}

/** A copy of it with a change. */
function changed(t: Test, dir: string, change: (copy: string) => void): string {
  const copy = join(dataDir(t), 'store')
  cpSync(dir, copy, { recursive: true })
  change(copy)
  return copy
}

const refused = (t: Test, dir: string, reason: RegExp) =>
  t.rejects(storeAt(dir).open(), ofKind('STORE_UNAVAILABLE', { info: { reason } }))

const newestOf = (dir: string): string =>
  join(
    dir,
    readdirSync(dir)
      .filter(name => /^journal-\d+$/.test(name))
      .sort((a, b) => Number(b.slice(8)) - Number(a.slice(8)))[0] ?? '',
  )

t.test('after a kill: the newest file of the journal', { skip: bootId() === 0n }, async t => {
  const { dir, last } = await killed(t)
  const at = (change: (copy: string) => void) => changed(t, dir, change)
  await refused(
    t,
    at(copy => rmSync(newestOf(copy))),
    /journal-\d+ is missing; .*remove the journal/,
  )
  await refused(
    t,
    at(copy => truncateSync(newestOf(copy), 0)),
    /journal-\d+ was cut short/,
  )
  await refused(
    t,
    at(copy => truncateSync(newestOf(copy), 60)),
    /cut short: it ends with record \d+, and data/,
  )
  const without = at(copy => rmSync(newestOf(copy)))
  // As the refusal says.
  rmSync(join(without, 'opened'))
  const rest = storeAt(without)
  await rest.open()
  await rest.close()
  const store = storeAt(at(() => undefined))
  await store.open()
  t.ok((await store.inbox.lastSeq(BOB)) >= last, 'unchanged it is opened, and lacks nothing')
  await store.close()
})

t.test('a record that was being written at the kill is no damage', { skip: bootId() === 0n }, async t => {
  const { dir } = await killed(t)
  const torn = changed(t, dir, copy => truncateSync(newestOf(copy), statSync(newestOf(copy)).size - 5))
  const store = storeAt(torn)
  await store.open()
  await store.inbox.append([message(ANN, BOB)])
  await store.close()
  t.notOk(existsSync(join(torn, 'opened')), 'and a close leaves no note')
  t.same(
    readdirSync(torn).filter(name => name.startsWith('journal-')),
    [],
  )
})

t.test('a data.mdb that is gone does not begin a new store', async t => {
  const { dir } = await killed(t)
  const without = changed(t, dir, copy => rmSync(join(copy, 'data.mdb')))
  const gone = /data\.mdb is missing, and .* beside it is of a store: put a backup .*remove .* to begin anew/
  await refused(t, without, gone)
  t.notOk(existsSync(join(without, 'data.mdb')), 'nothing was made')
  const store = storeAt(dir)
  await store.open()
  await store.close()
  for (const name of ['data.mdb', 'lock.mdb']) rmSync(join(dir, name))
  await refused(t, dir, gone)
  rmSync(dir, { recursive: true })
  const anew = storeAt(dir)
  await anew.open()
  t.equal(await anew.inbox.lastSeq(BOB), 0)
  await anew.close()
})

t.test('a note of another start of the system, or of no store at all, refuses nothing', async t => {
  const { dir } = await killed(t)
  for (const text of ['', 'x', '1 99\n']) {
    const other = changed(t, dir, copy => writeFileSync(join(copy, 'opened'), text))
    const store = storeAt(other)
    await store.open()
    await store.close()
  }
})
