import t from 'tap'
import { BaseStore, type StoreParts } from '../../src/store/base.js'
import type { Contents } from '../../src/store/contents.js'
import type { CursorStore, InboxLog, KeyValue, SharedRecords, Users } from '../../src/store/store.js'

const SHUT = { kind: 'STORE_UNAVAILABLE' } as never

/** A store with a real life cycle and no data. */
class Fake extends BaseStore<StoreParts> {
  protected readonly backupEnding = 'x'
  protected async backupOf(): Promise<number> {
    return 0
  }

  async *strays() {}

  readonly log: string[] = []
  fault: Error | undefined
  left = 0

  protected async openParts(): Promise<StoreParts> {
    this.log.push('open')
    const role = <T>(name: string) => ({ name }) as unknown as T
    return {
      users: role<Users>('users'),
      inbox: role<InboxLog>('inbox'),
      cursors: role<CursorStore>('cursors'),
      kv: role<KeyValue>('kv'),
      shared: role<SharedRecords>('shared'),
      contents: role<Contents>('contents'),
      format: {
        old: async () => undefined,
        begin: async () => {
          this.log.push('begin')
          if (this.fault !== undefined) throw this.fault
        },
        upgradeSome: async () => {
          this.log.push('upgrade')
          return --this.left > 0
        },
      },
    }
  }

  protected async tidy(): Promise<void> {
    this.log.push('tidy')
    void this.users
  }

  protected async closeParts(): Promise<void> {
    this.log.push('close')
  }

  async ping(): Promise<void> {}
}

t.test('roles are available only while the store is open', async t => {
  const store = new Fake()
  t.throws(() => store.users, SHUT)
  await store.open()
  const { users, inbox, cursors, kv, shared } = store
  t.match(
    [users, inbox, cursors, kv, shared, store.contents()].map(
      role => (role as unknown as { name: string }).name,
    ),
    ['users', 'inbox', 'cursors', 'kv', 'shared', 'contents'],
  )
  await store.close()
  for (const role of ['users', 'inbox', 'cursors', 'kv', 'shared'] as const)
    t.throws(() => store[role], SHUT, role)
  t.throws(() => store.contents(), SHUT)
})

t.test('a second close waits for the first and closes nothing; it can be opened again', async t => {
  const store = new Fake()
  await store.close()
  t.same(store.log, [], 'what is not open is not closed')
  await store.open()
  await Promise.all([store.close(), store.close()])
  t.equal(store.log.filter(one => one === 'close').length, 1)
  await store.open()
  await store.close()
  t.equal(store.log.filter(one => one === 'close').length, 2)
})

t.test('data of an older format is upgraded in the background, and a close stops that first', async t => {
  const store = new Fake()
  store.left = 2
  await store.open()
  await store.upgraded()
  t.same(store.log.slice(0, 2), ['open', 'begin'])
  t.equal(store.log.filter(one => one === 'upgrade').length, 2)
  await store.close()
  t.equal(store.log.at(-1), 'close')

  const stopped = new Fake()
  stopped.left = Number.POSITIVE_INFINITY
  await stopped.open()
  await stopped.close()
  t.equal(stopped.log.at(-1), 'close', 'no step of it comes behind the close')
})

t.test('without an upgrade the format is not looked at', async t => {
  const store = new Fake(false)
  await store.open()
  await store.upgraded()
  await store.close()
  t.same(store.log, ['open', 'tidy', 'close'])
})

t.test('with data of a newer format, everything opened is closed again', async t => {
  const store = new Fake()
  store.fault = new Error('newer')
  await t.rejects(store.open(), { message: 'newer' })
  t.same(store.log, ['open', 'begin', 'close'])
  t.throws(() => store.kv, SHUT)
})
