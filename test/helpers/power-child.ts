/**
 * A child process of test/slow/power-cut.test.ts. Arguments: the task and its settings as JSON.
 * `run` works on a store, writes what a disk may hold after power cuts, and kills itself. `verify` opens such images.
 */
import { writeFileSync, writeSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import zlib from 'node:zlib'
import { Random } from '../../scripts/random.js'
import { bootId } from '../../src/store/embedded/boot-id.js'
import type { Store } from '../../src/store/store.js'
import { below, PowerDisk, startedAnew } from './power-disk.js'
import { message, move, user } from './store-samples.js'

export interface RunSettings {
  readonly dir: string
  /** A folder that gets a folder for each image. */
  readonly images: string
  readonly count: number
  readonly seed: string
  readonly durability: 'commit' | 'flush'
  readonly fault?: 'no pin' | 'no sync' | 'no checksum' | undefined
}

export interface VerifySettings {
  /** Folders with an image and what it must hold. */
  readonly dirs: readonly string[]
  readonly fault?: 'no restore' | 'no checksum' | undefined
}

/** What was acknowledged: per inbox its highest seq, and the number that all keys of a group have. */
interface Acknowledged {
  readonly lastSeqs: Readonly<Record<string, number>>
  readonly group: number
}

const SENDER = '100000001'
const OWNERS = ['100000002', '100000003', '100000004', '100000005']
const GROUP = Array.from({ length: 20 }, (_, i) => ['group', i])
const HOUR_MS = 3_600_000
const KEPT = 150
const keyOf = (owner: string, n: number) => `${owner} ${n}`

const tell = (value: unknown) => void writeSync(1, `${JSON.stringify(value)}\n`)

/** The nth message to `owner`. Its text says so, so that it is known from its row which one it is. */
function nth(owner: string, n: number, length = 20 + ((n * 37) % 300)) {
  const text = JSON.stringify({ n, filler: 'x'.repeat(n % 50 === 0 ? 9000 : length) })
  return message(SENDER, owner, { text, dedupKey: keyOf(owner, n) })
}

const numberOf = (text: string): number => JSON.parse(text).n

async function groupOf(store: Store): Promise<number[]> {
  const values = await Promise.all(GROUP.map(key => store.kv.kvGet('meta', key)))
  return values.map(value => Number(value && Buffer.from(value)) || 0)
}

class Run {
  #acknowledged: Acknowledged = { lastSeqs: {}, group: 0 }
  /** With the newest transaction in the file, and the bytes of the journal, when it was acknowledged. */
  readonly #history: { readonly txn: number; readonly written: number; readonly what: Acknowledged }[] = []
  readonly #random: Random
  readonly #disk: PowerDisk
  #made = 0
  #isOpen = false

  constructor(private readonly settings: RunSettings) {
    const { dir, seed, fault } = settings
    this.#random = new Random(seed)
    this.#disk = new PowerDisk(dir, this.#random.fork('disk'), fault !== 'no sync', () => this.#maybeCut(0.1))
  }

  async run(): Promise<void> {
    const { dir, durability, fault, count } = this.settings
    if (fault === 'no checksum') plantNoChecksum()
    const [{ EmbeddedStore }, { DiskSync }] = await Promise.all([
      import('../../src/store/embedded/store.js'),
      import('../../src/store/embedded/disk-sync.js'),
    ])
    if (fault === 'no pin') plantNoPin(DiskSync.prototype)
    const store = new EmbeddedStore({ dir, durability, dedupWindowMs: HOUR_MS })
    await store.open()
    const lastSeqs = await Promise.all(OWNERS.map(async owner => [owner, await store.inbox.lastSeq(owner)]))
    this.#acknowledge({ lastSeqs: Object.fromEntries(lastSeqs), group: (await groupOf(store))[0] ?? 0 })
    this.#isOpen = true
    for (let step = 0; this.#made < count; step++) {
      await this.#step(store, step)
      if (this.#random.chance(0.3)) this.#disk.look()
      this.#maybeCut(step < 60 ? 0 : 0.03)
      if (step % 10 === 0) await delay(this.#random.between(0, 30))
    }
    this.#disk.save()
    process.kill(process.pid, 'SIGKILL')
    await delay(10_000)
  }

  async #step(store: Store, step: number): Promise<void> {
    const kind = below(this.#random, 10)
    if (kind < 6) await this.#append(store)
    else if (kind === 6) await this.#setGroup(store)
    else if (kind === 7) await this.#trim(store)
    else if (kind === 8)
      await store.cursors.moveCursors([move(this.#random.pick(OWNERS), `device ${step % 30}`)])
    else await addAndDelete(store, step)
  }

  /** Few messages are committed on the main thread, many on lmdb's. */
  async #append(store: Store): Promise<void> {
    const { lastSeqs, group } = this.#acknowledged
    const next: Record<string, number> = { ...lastSeqs }
    const count = 1 + below(this.#random, this.#random.chance(0.15) ? 200 : 12)
    const batch = Array.from({ length: count }, () => {
      const owner = this.#random.pick(OWNERS)
      const n = (next[owner] ?? 0) + 1
      next[owner] = n
      return nth(owner, n)
    })
    const appending = store.inbox.append(batch)
    if (this.#random.chance(0.2)) this.#maybeCut(0.2)
    await appending
    this.#acknowledge({ lastSeqs: next, group })
  }

  async #setGroup(store: Store): Promise<void> {
    const { lastSeqs, group } = this.#acknowledged
    const value = Buffer.from(String(group + 1))
    await store.kv.kvWrite(GROUP.map(key => ({ put: 'meta', key, value })))
    this.#acknowledge({ lastSeqs, group: group + 1 })
  }

  async #trim(store: Store): Promise<void> {
    const owner = this.#random.pick(OWNERS)
    await store.inbox.trimInbox(owner, (this.#acknowledged.lastSeqs[owner] ?? 0) - KEPT, 1000)
  }

  #acknowledge(what: Acknowledged): void {
    this.#acknowledged = what
    this.#history.push({ txn: this.#disk.newest, written: this.#disk.journal.written, what })
  }

  /** What must be there after a power cut now. */
  get #least(): Acknowledged {
    if (this.settings.durability === 'flush' && this.#isOpen) return this.#acknowledged
    const { noted, journal } = this.#disk
    const ofLmdb = this.#history.findLast(({ txn }) => txn <= noted)?.what
    const ofJournal = this.#history.findLast(({ written }) => written <= journal.synced)?.what
    return { lastSeqs: ofJournal?.lastSeqs ?? {}, group: ofLmdb?.group ?? 0 }
  }

  #maybeCut(probability: number): void {
    if (this.#disk.floor.length === 0 || this.#made >= this.settings.count) return
    if (!this.#random.chance(probability)) return
    const dir = join(this.settings.images, `${this.#made++}`)
    this.#disk.cut(dir)
    writeFileSync(join(dir, 'least.json'), JSON.stringify(this.#least))
  }
}

async function addAndDelete(store: Store, step: number): Promise<void> {
  const id = String(300_000_000 + below(new Random(`${step} ${Date.now()}`), 600_000_000))
  await store.users.createUser(user(id))
  await store.inbox.append([message(SENDER, id)])
  await store.users.deleteUser(id)
}

/** Snapshots are noted, but nothing keeps their pages from being used again. */
function plantNoPin(prototype: { committed(): void }): void {
  const { committed } = prototype
  prototype.committed = function (this: { root: { useReadTransaction(): unknown } }) {
    this.root.useReadTransaction = () => ({ done: () => undefined })
    committed.call(this)
  }
}

/** Every record of the journal seems to be whole. To be called before the store is imported. */
function plantNoChecksum(): void {
  zlib.crc32 = () => 0
  syncBuiltinESMExports()
}

/** @throws Error with what is wrong */
async function verify(dir: string, fault: VerifySettings['fault']): Promise<void> {
  const { readFileSync } = await import('node:fs')
  if (fault === 'no checksum') plantNoChecksum()
  const { EmbeddedStore } = await import('../../src/store/embedded/store.js')
  const path = join(dir, 'data.mdb')
  if (fault === 'no restore') writeFileSync(path, startedAnew(readFileSync(path), bootId()))
  const least: Acknowledged = JSON.parse(readFileSync(join(dir, 'least.json'), 'utf8'))
  const check = { pages: 'always', timeoutMs: 60_000 } as const
  const open = async () => {
    const store = new EmbeddedStore({ dir, durability: 'commit', dedupWindowMs: HOUR_MS, check })
    await store.open()
    return store
  }
  let store = await open()
  const group = await groupOf(store)
  if (new Set(group).size !== 1 || (group[0] ?? 0) < least.group) fail(`group ${group}, least ${least.group}`)
  for (const owner of OWNERS) await verifyInbox(store, owner, least.lastSeqs[owner] ?? 0)
  await store.close()
  store = await open()
  for (const owner of OWNERS) await verifyInbox(store, owner, least.lastSeqs[owner] ?? 0)
  await store.close()
}

/** Its rows, conversation and dedup keys agree; and it goes on. */
async function verifyInbox(store: Store, owner: string, least: number): Promise<void> {
  const { inbox } = store
  const last = await inbox.lastSeq(owner)
  if (last < least) fail(`${owner} ends at ${last}, acknowledged was ${least}`)
  const first = await inbox.firstSeq(owner)
  const rows = await inbox.readInbox(owner, 0, 1_000_000)
  if (rows.length !== last - first + 1) fail(`${owner} has ${rows.length} rows from ${first} to ${last}`)
  for (const [i, { seq, text }] of rows.entries())
    if (seq !== first + i || numberOf(text) !== seq)
      fail(`${owner} has ${text} as ${seq}, ${i} rows after ${first}`)
  const [row] = rows
  if (row?.conversation !== undefined) {
    const told = (await inbox.readConversation(row.conversation, 1_000_000)).map(({ row }) => row.seq)
    const seqs = rows.map(({ seq }) => seq).reverse()
    if (told.join() !== seqs.join()) fail(`the conversation with ${owner} has other messages than its inbox`)
  }
  const again = Array.from({ length: 30 }, (_, i) => last - 19 + i).filter(n => n >= first)
  const appended = await inbox.append(again.map(n => nth(owner, n)))
  for (const [i, { seq, repeat }] of appended.entries())
    if (seq !== again[i] || repeat !== seq <= last)
      fail(`${owner}: ${again[i]} again is ${seq}, last was ${last}`)
}

function fail(what: string): never {
  throw new Error(what)
}

const [, , task, settings = '{}'] = process.argv
if (task === 'run') await new Run(JSON.parse(settings)).run()
if (task === 'verify') {
  const { dirs, fault }: VerifySettings = JSON.parse(settings)
  for (const dir of dirs) {
    tell({ begin: dir })
    await verify(dir, fault).then(
      () => tell({ dir }),
      error => tell({ dir, wrong: String(error) }),
    )
  }
}
