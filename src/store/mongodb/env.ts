/** The connection of the MongoDB store: options, collections, time-outs. */
import { type Collection, type Db, MongoClient, type MongoClientOptions, ReadPreference } from 'mongodb'
import { GatewayError } from '../../core/errors.js'
import type { SharedCollection } from '../store.js'
import { refuseNewer, type UpgradeOptions } from '../upgrade.js'
import type {
  BrokerDocument,
  DeviceDocument,
  FormatDocument,
  GatewayDocument,
  InboxDocument,
  JournalDocument,
  MessageDocument,
  SharedDocument,
  TextDocument,
  UserDocument,
} from './documents.js'
import { reasonText, toStoreError, withoutSecrets } from './errors.js'
import { bounded } from './group.js'
import { makeIndexes } from './indexes.js'

export interface MongoOptions {
  /** `mongodb://` or `mongodb+srv://`, with any option of the driver. Never printed. */
  readonly url: string
  readonly database: string
  /** The name under which MQTT sessions, retained messages and wills are kept. Only one running gateway may have it. */
  readonly gateway: string
  /** How many servers must acknowledge a write. */
  readonly writeConcern: 'majority' | '1' | '2' | '3'
  /** Whether these servers must have written it to their journal. */
  readonly journal: boolean
  readonly readConcern: 'majority' | 'local'
  readonly poolSize: number
  /** Deadline of an operation, ms. */
  readonly timeoutMs: number
  /** How long the start waits for a server, ms. */
  readonly startTimeoutMs: number
  /** How long a dedupKey is recognised, ms. */
  readonly dedupWindowMs: number
  /** Whether, and how, data of an older format is upgraded; default true. */
  readonly upgrade?: UpgradeOptions | boolean
}

export class MongoEnv {
  readonly options: MongoOptions
  #client: MongoClient | undefined
  #db: Db | undefined

  constructor(options: MongoOptions) {
    this.options = options
  }

  /** Connects and creates the indexes. @throws GatewayError STORE_UNAVAILABLE */
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
   * Waits for the server, and creates nothing. It uses its own client, since the driver has a single time-out for the
   * first server selection and all later ones.
   * @throws GatewayError STORE_UNAVAILABLE, also if a newer program has written this data
   */
  async check(): Promise<void> {
    const client = this.#build(this.options.startTimeoutMs)
    try {
      await client.connect()
      const db = client.db(this.options.database)
      await db.command({ ping: 1 })
      const format = await db.collection<FormatDocument>('format').findOne({ _id: 'data' })
      refuseNewer(`the database ${this.options.database}`, format?.number ?? 0)
    } catch (thrown) {
      if (thrown instanceof GatewayError) throw thrown
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

  shared(name: SharedCollection): Collection<SharedDocument> {
    return this.#collection(name)
  }

  get gateways(): Collection<GatewayDocument> {
    return this.#collection('gateways')
  }

  get format(): Collection<FormatDocument> {
    return this.#collection('format')
  }

  #collection<T extends object>(name: string): Collection<T> {
    if (this.#db === undefined) throw unavailable('the store is not open')
    return this.#db.collection<T>(name)
  }

  /**
   * Runs work that only reads or is idempotent, with the deadline.
   * @throws GatewayError STORE_UNAVAILABLE, STORE_FULL
   */
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
    // timeoutMS of the driver has no effect in 7.9 (lib/timeout.js), so each stage has a time-out, and `bounded` the
    // whole.
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

function cannotBeUsed({ options: { hosts, srvHost } }: MongoClient, reason: string): GatewayError {
  const place = srvHost ?? hosts.join(', ')
  return unavailable(`store.mongodb.url: MongoDB at ${place} cannot be used: ${reason}`)
}

export function unavailable(reason: string): GatewayError {
  return new GatewayError('STORE_UNAVAILABLE', { reason })
}
