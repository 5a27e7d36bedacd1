/** The connection of the MongoDB store: options, collections, indexes, deadlines. */
import { type Collection, type Db, MongoClient, type MongoClientOptions, ReadPreference } from 'mongodb'
import { GatewayError } from '../../core/errors.js'
import { reasonText, toStoreError, withoutSecrets } from './errors.js'
import { bounded } from './group.js'

export interface MongoOptions {
  /** `mongodb://` or `mongodb+srv://`, with whatever the driver takes in it. Never printed. */
  readonly url: string
  readonly database: string
  /** Whose MQTT sessions, retained messages and wills these are: one running gateway a name. */
  readonly gateway: string
  /** How many servers must have a write before it counts. */
  readonly writeConcern: 'majority' | '1' | '2' | '3'
  /** Whether a write waits for the journal of the servers it waits for. */
  readonly journal: boolean
  readonly readConcern: 'majority' | 'local'
  readonly poolSize: number
  /** How long an operation may take, ms. */
  readonly timeoutMs: number
  /** How long to wait for the server at start, ms. */
  readonly startTimeoutMs: number
  /** How long a dedupKey is remembered, ms. */
  readonly dedupWindowMs: number
}

/** Everything about an account; one that was deleted keeps `_id` and `ordinal`. */
export interface UserDocument {
  readonly _id: string
  /** 1, 2, 3 … in order of registration; one that failed may leave a hole. */
  readonly ordinal: number
  readonly email?: string
  readonly emailKey?: string
  /** Absent where none is set. */
  readonly username?: string
  readonly firstName?: string
  readonly lastName?: string
  readonly profileImage?: string
  readonly key?: string
  readonly createdAt?: Date
  readonly passwordHash?: string
  readonly deleted?: true
  /** Deleted, and something of it may remain elsewhere. */
  readonly purging?: true
}

/** One row of an inbox. */
export interface MessageDocument {
  /** `<inbox>:<seq>`, which makes the log: no two messages can have one place. */
  readonly _id: string
  readonly inbox: string
  readonly seq: number
  /** UUIDv7. */
  readonly id: string
  /** The JSON that clients get; of a broadcast it is in `texts`. */
  readonly text?: string
  /** Of a broadcast: its id again, for a sparse index. */
  readonly shared?: string
  /** Bytes of text, and of all that the inbox was ever given up to here; absent in rows from before they were counted. */
  readonly bytes?: number
  readonly end?: number
  readonly storedAt: Date
  /** `<lower id>:<higher id>` of a message between two users. */
  readonly conversation?: string
  /** JSON text of the dedupKey. */
  readonly dedup?: string
}

/** The text of a broadcast, for as long as a row refers to it. */
export interface TextDocument {
  /** The message's id. */
  readonly _id: string
  readonly text: string
  /** A row of it was removed: there may be none any more. */
  readonly unheld?: true
}

export interface DeviceDocument {
  /** Key of [user, device]. */
  readonly _id: string
  readonly user: string
  readonly device: string
  readonly confirmed: number
  readonly sent: number
  readonly released: readonly number[]
  readonly seenAt: Date
}

export interface InboxDocument {
  readonly _id: string
  /** Highest seq removed by a limit. */
  readonly trimmed?: number
  /** Highest seq confirmed by any device. */
  readonly furthest?: number
}

export interface BrokerDocument {
  /** Key of [gateway, collection, …]. */
  readonly _id: string
  readonly value: Buffer
}

/** The last group of broker writes that had more than one: applied again by the next start. */
export interface JournalDocument {
  /** The gateway's name. */
  readonly _id: string
  readonly values: readonly Buffer[]
  /** Which of `values` goes where; -1: removed. */
  readonly writes: readonly { readonly key: string; readonly value: number }[]
}

export interface GatewayDocument {
  /** Its name. */
  readonly _id: string
  /** Which start of it; absent once it was closed. */
  readonly holder?: string
  readonly host?: string
  readonly pid?: number
  readonly process?: string
  readonly beat: number
}

export class MongoEnv {
  readonly options: MongoOptions
  #client: MongoClient | undefined
  #db: Db | undefined

  constructor(options: MongoOptions) {
    this.options = options
  }

  /** Connects, and makes the indexes. @throws GatewayError STORE_UNAVAILABLE */
  async open(): Promise<void> {
    await this.check()
    const client = this.#build(this.options.timeoutMs)
    this.#client = client
    try {
      const db = client.db(this.options.database)
      await makeIndexes(db)
      this.#db = db
    } catch (thrown) {
      await this.close()
      throw cannotBeUsed(client, withoutSecrets(reasonText(thrown), this.options.url))
    }
  }

  /**
   * Waits for the server, and makes nothing. By a client of its own: the driver has one timeout for the first choice of
   * a server and all later ones. @throws GatewayError STORE_UNAVAILABLE
   */
  async check(): Promise<void> {
    const client = this.#build(this.options.startTimeoutMs)
    try {
      await client.connect()
      await client.db(this.options.database).command({ ping: 1 })
    } catch (thrown) {
      throw cannotBeUsed(client, withoutSecrets(reasonText(thrown), this.options.url))
    } finally {
      await client.close()
    }
  }

  #build(serverSelectionTimeoutMS: number): MongoClient {
    const { url } = this.options
    try {
      return new MongoClient(url, { ...clientOptions(this.options), serverSelectionTimeoutMS })
    } catch (thrown) {
      throw unavailable(`store.mongodb.url: ${withoutSecrets(reasonText(thrown), url)}`)
    }
  }

  async close(): Promise<void> {
    const client = this.#client
    this.#client = undefined
    this.#db = undefined
    await client?.close().catch(() => undefined)
  }

  get users(): Collection<UserDocument> {
    return this.#collection('users')
  }

  get messages(): Collection<MessageDocument> {
    return this.#collection('messages')
  }

  get texts(): Collection<TextDocument> {
    return this.#collection('texts')
  }

  get devices(): Collection<DeviceDocument> {
    return this.#collection('devices')
  }

  get inboxes(): Collection<InboxDocument> {
    return this.#collection('inboxes')
  }

  get broker(): Collection<BrokerDocument> {
    return this.#collection('broker')
  }

  get journal(): Collection<JournalDocument> {
    return this.#collection('journal')
  }

  get gateways(): Collection<GatewayDocument> {
    return this.#collection('gateways')
  }

  #collection<T extends object>(name: string): Collection<T> {
    if (this.#db === undefined) throw unavailable('the store is not open')
    return this.#db.collection<T>(name)
  }

  /** Runs what does not change anything, or may be done twice. @throws GatewayError */
  async run<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await bounded(work(), this.options.timeoutMs)
    } catch (thrown) {
      throw toStoreError(thrown)
    }
  }
}

function clientOptions(options: MongoOptions): MongoClientOptions {
  const { timeoutMs, writeConcern, journal, readConcern, poolSize } = options
  return {
    appName: 'mumi',
    // The driver's own timeoutMS does nothing in 7.9 (lib/timeout.js), so each stage has its own, and `bounded` the whole.
    connectTimeoutMS: timeoutMs,
    waitQueueTimeoutMS: timeoutMs,
    socketTimeoutMS: timeoutMs,
    maxPoolSize: poolSize,
    writeConcern: {
      w: writeConcern === 'majority' ? writeConcern : Number(writeConcern),
      journal,
      wtimeoutMS: timeoutMs,
    },
    readConcern: { level: readConcern },
    readPreference: ReadPreference.primary,
    ignoreUndefined: true,
    promoteBuffers: true,
  }
}

/** Only what every compatible server has: unique, sparse and compound, no partial ones. */
async function makeIndexes(db: Db): Promise<void> {
  const make = (name: string, indexes: Parameters<Collection['createIndexes']>[0]) =>
    db.collection(name).createIndexes(indexes)
  await make('users', [
    { key: { emailKey: 1 }, unique: true, sparse: true },
    { key: { username: 1 }, unique: true, sparse: true },
    { key: { ordinal: 1 }, unique: true },
    { key: { firstName: 1, ordinal: 1 } },
    { key: { lastName: 1, ordinal: 1 } },
    // For both: with one of the two indexes above, whoever has one of the names would be read.
    { key: { firstName: 1, lastName: 1, ordinal: 1 } },
    { key: { purging: 1 }, sparse: true },
  ])
  await make('messages', [
    { key: { conversation: 1, id: -1 } },
    { key: { dedup: 1 }, sparse: true },
    { key: { shared: 1 }, sparse: true },
  ])
  await make('texts', [{ key: { unheld: 1 }, sparse: true }])
  await make('devices', [{ key: { seenAt: 1 } }])
}

function cannotBeUsed({ options: { hosts, srvHost } }: MongoClient, reason: string): GatewayError {
  const place = srvHost ?? hosts.join(', ')
  return unavailable(`store.mongodb.url: MongoDB at ${place} cannot be used: ${reason}`)
}

export function unavailable(reason: string): GatewayError {
  return new GatewayError('STORE_UNAVAILABLE', { reason })
}
