/** The built program: started as shipped, and its own store to prepare data with. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { EmbeddedStore } from '../../src/store/embedded.js'
import { Server } from './server.js'

export const PASSWORD = 'correct horse battery staple'
/** Logins are not what most scenarios measure. */
const CHEAP_COST = 4
/** Writes handed to the store at a time. */
const CHUNK = 5000

export const userId = (n: number): string => String(100_000_000 + n)
export const emailOf = (id: string): string => `${id}@bench.test`

/** `main` is dist/main.js of the build to measure; its store is imported from beside it. */
export class Program {
  readonly #main: string

  constructor(main: string) {
    this.#main = resolve(main)
  }

  /** Default durability, limits, logs and metrics; @param settings what a scenario cannot do without */
  start(dir: string, settings: Record<string, string | number> = {}): Promise<Server> {
    const all = { 'data.dir': dir, 'http.port': 0, 'mqtt.port': 0, ...settings }
    const options = Object.entries(all).map(([key, value]) => `--${key}=${value}`)
    return Server.start([this.#main, 'serve', ...options], line => {
      if (!line.includes('"gateway.ready"')) return undefined
      const { http, mqtt } = JSON.parse(line)
      return { http: http.port, mqtt: mqtt.port }
    })
  }

  async withStore<T>(dir: string, work: (store: EmbeddedStore) => Promise<T>): Promise<T> {
    const { EmbeddedStore } =
      await this.#import<typeof import('../../src/store/embedded.js')>('store/embedded.js')
    const store = new EmbeddedStore({ dir: join(dir, 'store'), durability: 'commit', dedupWindowMs: 0 })
    await store.open()
    try {
      return await work(store)
    } finally {
      await store.close()
    }
  }

  /** Accounts number `from` to `to`, which all have PASSWORD. */
  async addUsers(dir: string, from: number, to: number, cost = CHEAP_COST): Promise<void> {
    const { Passwords } =
      await this.#import<typeof import('../../src/accounts/passwords.js')>('accounts/passwords.js')
    const passwords = new Passwords({ cost, concurrency: 1, queue: 1 })
    const passwordHash = await passwords.hash(PASSWORD)
    await passwords.close()
    await this.withStore(dir, async store => {
      for (let n = from; n < to; n += CHUNK) {
        const ids = Array.from({ length: Math.min(CHUNK, to - n) }, (_, i) => userId(n + i))
        await Promise.all(ids.map(id => store.createUser({ ...account(id), passwordHash })))
      }
    })
  }

  /** Of a module of the build. */
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

/** A folder that is gone with `work`. */
export async function withFolder<T>(work: (dir: string) => Promise<T>): Promise<T> {
  const dir = mkdtempSync(join(tmpdir(), 'mumi-bench-'))
  try {
    return await work(dir)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}
