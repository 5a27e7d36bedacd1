/** The built program, started with its defaults, and its store module, which prepares data. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Store } from '../../src/store/store.js'
import { type MongoPlace, mongoOptions, mongoPlace, mongoSettings } from '../mongodb.js'
import { Server } from './server.js'

export const PASSWORD = 'correct horse battery staple'
/** A low bcrypt cost, because most scenarios do not measure logins. The gateway gets the same cost, so it does not renew hashes. */
const CHEAP_COST = 4
/** Writes per call of the store. */
const CHUNK = 5000

export const userId = (n: number): string => String(100_000_000 + n)
export const emailOf = (id: string): string => `${id}@bench.test`

export type StoreType = 'embedded' | 'mongodb'

const NEVER = 1_000_000_000
/** Limits from which loopback is exempt by default. Here every request is counted, at rates that are not reached. */
const COUNTED = {
  'limits.exempt': '',
  'limits.connectionsPerAddress': NEVER,
  'limits.handshakes': NEVER,
  'limits.handshakesPerAddress': NEVER,
  'limits.requestsBeforeLogin': NEVER,
  'limits.requests': NEVER,
  'limits.accountRequests': NEVER,
  'limits.accountBytes': NEVER,
  'limits.broadcastBytes': NEVER,
}

/** `main` is dist/main.js of the build to measure; its store is imported from beside it. */
export class Program {
  readonly #main: string
  readonly #store: StoreType
  /** Folder → its database. */
  readonly #places = new Map<string, MongoPlace>()

  /** @param isCounted whether requests from this machine count for limits, see COUNTED */
  constructor(
    main: string,
    store: StoreType = 'embedded',
    private readonly isCounted = true,
  ) {
    this.#main = resolve(main)
    this.#store = store
  }

  #place(dir: string): MongoPlace {
    const place = this.#places.get(dir) ?? mongoPlace('bench')
    this.#places.set(dir, place)
    return place
  }

  /** Removes the databases, which are outside the folders. */
  async forget(dir: string): Promise<void> {
    await this.#places.get(dir)?.drop()
    this.#places.delete(dir)
  }

  /** Starts with default durability, limits, logs and metrics. @param settings config keys that the scenario needs */
  start(dir: string, settings: Record<string, string | number> = {}): Promise<Server> {
    const store = this.#store === 'mongodb' ? mongoSettings(this.#place(dir)) : {}
    const limits = this.isCounted ? COUNTED : {}
    const all = {
      'data.dir': dir,
      'http.port': 0,
      'mqtt.port': 0,
      'ops.port': 0,
      'passwords.cost': CHEAP_COST,
      ...limits,
      ...store,
      ...settings,
    }
    const options = Object.entries(all).map(([key, value]) => `--${key}=${value}`)
    return Server.start([this.#main, 'serve', ...options], line => {
      if (!line.includes('"gateway.ready"')) return undefined
      const { http, mqtt } = JSON.parse(line)
      return { http: http.port, mqtt: mqtt.port }
    })
  }

  async withStore<T>(dir: string, work: (store: Store) => Promise<T>): Promise<T> {
    const store = this.#store === 'mongodb' ? await this.#mongo(dir) : await this.#embedded(dir)
    await store.open()
    try {
      return await work(store)
    } finally {
      await store.close()
    }
  }

  async #embedded(dir: string): Promise<Store> {
    const { EmbeddedStore } =
      await this.#import<typeof import('../../src/store/embedded/store.js')>('store/embedded/store.js')
    return new EmbeddedStore({ dir: join(dir, 'store'), durability: 'commit', dedupWindowMs: 0 })
  }

  async #mongo(dir: string): Promise<Store> {
    const { MongoStore } =
      await this.#import<typeof import('../../src/store/mongodb/store.js')>('store/mongodb/store.js')
    const { url, database } = this.#place(dir)
    return new MongoStore({ ...mongoOptions(url, database), timeoutMs: 60_000, dedupWindowMs: 0 })
  }

  /** Creates the accounts from index `from` to `to`, all with PASSWORD. */
  async addUsers(dir: string, from: number, to: number, cost = CHEAP_COST): Promise<void> {
    const { Passwords } =
      await this.#import<typeof import('../../src/accounts/passwords.js')>('accounts/passwords.js')
    const passwords = new Passwords({ cost, concurrency: 1, queue: 1 })
    const passwordHash = await passwords.hash(PASSWORD)
    await passwords.close()
    await this.withStore(dir, async store => {
      for (let n = from; n < to; n += CHUNK) {
        const ids = Array.from({ length: Math.min(CHUNK, to - n) }, (_, i) => userId(n + i))
        await Promise.all(ids.map(id => store.users.createUser({ ...account(id), passwordHash })))
      }
    })
  }

  /** URL of a module of the build. */
  url(path: string): string {
    return pathToFileURL(join(dirname(this.#main), path)).href
  }

  #import<M>(path: string): Promise<M> {
    return import(this.url(path))
  }
}

const account = (id: string) => ({
  id,
  email: emailOf(id),
  emailKey: emailOf(id),
  username: '',
  firstName: 'Bench',
  lastName: id,
  profileImage: '',
  key: '',
  createdAt: Date.now(),
})

/** Runs `work` with a temporary folder and removes the folder afterwards. */
export async function withFolder<T>(work: (dir: string) => Promise<T>): Promise<T> {
  const dir = mkdtempSync(join(tmpdir(), 'mumi-bench-'))
  try {
    return await work(dir)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}
