/** The real parts of an MQTT broker over a separate store, without a gateway or a socket. */
import { join } from 'node:path'
import { Duplex } from 'node:stream'
import type { Test } from 'tap'
import { Accounts } from '../../src/accounts/accounts.js'
import { HeldAddresses } from '../../src/accounts/held-addresses.js'
import { Invites } from '../../src/accounts/invites.js'
import { Passwords } from '../../src/accounts/passwords.js'
import { PendingDeletions } from '../../src/accounts/pending-deletions.js'
import { UserNames } from '../../src/accounts/user-names.js'
import { composeFiles } from '../../src/app/files.js'
import { composeMail } from '../../src/app/mail.js'
import { IDLE_OPERATION } from '../../src/app/operation.js'
import { pictureOptions } from '../../src/app/options.js'
import { AdminTokens } from '../../src/auth/admin-tokens.js'
import { Authenticator } from '../../src/auth/authenticate.js'
import { LoginLog } from '../../src/auth/login-log.js'
import { Logins } from '../../src/auth/logins.js'
import { Proofs } from '../../src/auth/proofs.js'
import { Passkeys } from '../../src/auth/second-factor/passkeys.js'
import { SecondFactors } from '../../src/auth/second-factor/second-factors.js'
import { WebAuthn } from '../../src/auth/second-factor/webauthn.js'
import { TokenKeys } from '../../src/auth/token-keys.js'
import { loadConfig } from '../../src/config/config.js'
import { openAudit } from '../../src/core/audit.js'
import { createLogger } from '../../src/core/log.js'
import { Metrics } from '../../src/core/metrics.js'
import type { User } from '../../src/core/model.js'
import type { Services } from '../../src/handle/services.js'
import { Pictures } from '../../src/images/pictures.js'
import { ProfileImages } from '../../src/images/profile-images.js'
import { Cursors } from '../../src/inbox/cursors.js'
import { Inbox } from '../../src/inbox/inbox.js'
import { MessageIds } from '../../src/inbox/message-id.js'
import { Retention } from '../../src/inbox/retention.js'
import { type LimitRules, Limits } from '../../src/limits/limits.js'
import { LiveConnections } from '../../src/live/live.js'
import { makeParts } from '../../src/mqtt/compose.js'
import type { ConnectParts } from '../../src/mqtt/connect-parts.js'
import { Connections } from '../../src/mqtt/connections.js'
import type { BrokerOptions } from '../../src/mqtt/options.js'
import { SessionExpiry } from '../../src/mqtt/session-expiry.js'
import { openConnection } from '../../src/mqtt/socket.js'
import { Wills } from '../../src/mqtt/wills.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import { dataDir } from './gateway.js'
import { RawMqtt } from './raw-mqtt.js'

export const PASSWORD = 'correct horse battery'

const MANY = 1_000_000
const fast = { perSecond: MANY, burst: MANY }

const OPTIONS: BrokerOptions = {
  payload: 'text',
  anonymous: true,
  acl: 'open',
  presence: 'everyone',
  serverReference: '',
  presenceWindowMs: 1,
  closeOnRefused: false,
  keepaliveLimitSeconds: 0,
  connectTimeoutMs: 10_000,
  maxPacketBytes: MANY,
  maxTopicLevels: 10,
  maxTopicBytes: 1000,
  maxClientIdBytes: 100,
  maxWillBytes: 1000,
  maxUnreleased: 2,
  bytesPerRequest: 1024,
  maxInflight: 100,
  windowChars: MANY,
  maxBufferedBytes: MANY,
  stallTimeoutMs: 60_000,
  stateLimits: {
    sessionExpiryMs: 0,
    maxQueuedMessages: 100,
    maxQueuedBytes: MANY,
    accountQueuedBytes: MANY,
    maxRetained: 100,
    maxRetainedBytes: MANY,
    accountRetained: 100,
    accountRetainedBytes: MANY,
  },
  maxSubscriptions: 3,
  maxSessions: 2,
  locale: 'en',
}

export interface RunningParts {
  readonly parts: ConnectParts
  readonly store: EmbeddedStore
  readonly logs: readonly Record<string, unknown>[]
  register(name: string): Promise<User>
  /** Opens a connection on which nothing was sent. */
  open(): RawMqtt<Duplex>
}

export async function startParts(t: Test, differing: Partial<BrokerOptions> = {}): Promise<RunningParts> {
  const logs: Record<string, unknown>[] = []
  const log = createLogger(
    { level: 'debug', pretty: 'never' },
    { write: line => logs.push(JSON.parse(line)) },
  )
  const metrics = new Metrics()
  const store = new EmbeddedStore({
    dir: join(dataDir(t), 'store'),
    durability: 'commit',
    dedupWindowMs: 60_000,
  })
  await store.open()
  const passwords = new Passwords({ cost: 4, concurrency: 1, queue: 100 })
  const held = new HeldAddresses(store.kv)
  const names = new UserNames(store.users, store.shared, { reserved: ['admin'], holdMs: 3_600_000 })
  const accounts = new Accounts(store.users, passwords, undefined, held, names)
  const keys = new TokenKeys(store.kv, { accessLifetimeMs: 900_000, keyLifetimeMs: 0 })
  await keys.open()
  const logins = new Logins(store.kv, keys, { refreshLifetimeMs: MANY, refreshGraceMs: 0, perAccount: 9 })
  const cursors = new Cursors(store.cursors, log)
  const kept = { maxMessages: MANY, maxBytes: MANY, maxAgeMs: 0, deviceExpiryMs: 0 }
  const retention = new Retention(store, cursors, kept, metrics, log)
  const ids = new MessageIds(store.kv)
  await ids.open()
  const pendingDeletions = new PendingDeletions(store.kv, 0)
  const config = loadConfig({ argv: [], env: {} })
  const limits = makeLimits(metrics)
  const proofs = new Proofs(store.kv)
  const given = {
    ...{ config, log, metrics, limits, store, accounts, proofs, held },
    baseUrl: () => undefined,
    isUnverifiedTold: () => true,
  }
  const factors = new SecondFactors(store.users)
  const party = { id: 'chat.example', origin: 'https://chat.example' }
  const passkeys = new Passkeys(store.users, new WebAuthn(() => party))
  const pictures = new Pictures(pictureOptions(config))
  const services: Services = {
    operation: IDLE_OPERATION,
    mail: composeMail(given).mail,
    proofs,
    factors,
    passkeys,
    held,
    pictures,
    files: (await composeFiles(config, store, { accounts, pictures, baseUrl: () => undefined })).files,
    profileImages: new ProfileImages(store.shared, pictures, async () => undefined),
    accounts,
    invites: new Invites(store.kv),
    pendingDeletions,
    authenticator: new Authenticator({
      accounts,
      logins,
      factors,
      passkeys,
      keys,
      external: undefined,
      pendingDeletions,
      onKept: () => undefined,
      admins: () => new Set(),
    }),
    logins,
    adminTokens: new AdminTokens(store.kv),
    live: new LiveConnections('allow'),
    inbox: new Inbox(store.inbox, cursors, retention, metrics, log, {
      maxWaitingBytes: MANY,
      batchBytes: MANY,
    }),
    retention,
    ids,
    limits,
    rules: {
      anonymousQuery: 'lookup',
      queryLimit: 10,
      privacy: { email: 'everyone', presence: 'everyone', listing: 'users' },
      maxContentBytes: 1000,
      offlineDelivery: true,
      registration: 'open',
      broadcast: 'users',
      verify: 'off',
      undoLifetimeMs: 1000,
      files: false,
      dedup: true,
      publicUrl: () => '',
      maxImageBytes: MANY,
      unknownFields: 'ignore',
      maxDepth: 8,
      maxValues: 256,
    },
    log,
    loginLog: new LoginLog(log, metrics),
    audit: await openAudit('', { onError: () => undefined, onDropped: () => undefined }),
  }
  const connections = new Connections()
  const options = { ...OPTIONS, ...differing }
  const made = makeParts({ services, metrics, options }, store.kv, connections)
  const wills = new Wills(made, connections)
  const parts = { ...made, connections, wills, expiry: new SessionExpiry(made, connections) }
  await parts.state.setup({ id: 'broker' })
  t.teardown(async () => {
    for (const { transport } of connections.open) transport.destroy()
    await parts.wills.settled()
    await connections.settled()
    parts.wills.close()
    parts.expiry.close()
    await parts.state.destroy()
    await services.inbox.drained()
    await retention.close()
    await cursors.close()
    await ids.close()
    await passwords.close()
    await store.close()
  })
  return {
    parts,
    store,
    logs,
    register: name =>
      accounts.register({ email: `${name}@example.com`, password: PASSWORD, firstName: name, lastName: 'x' }),
    open: () => {
      const [client, server] = pipe()
      openConnection(parts, server, {})
      return new RawMqtt(client)
    },
  }
}

/** Limits that no test reaches, except those given. */
export function makeLimits(metrics: Metrics, differing: Partial<LimitRules> = {}): Limits {
  const rules = {
    crowd: { max: 1000, reserved: 0, graceMs: 0 },
    passwords: { concurrency: 1, queue: 100 },
    requestsBeforeLogin: fast,
    httpRequests: fast,
    controlFrames: fast,
    admission: { perAddress: 1000, handshakes: fast, handshakesPerAddress: fast, knownShare: 0 },
    failedLogins: { perAccount: 100, perAddress: 100, delayMs: 1, maxDelayMs: 1 },
    connectionsPerAccount: 3,
    requests: fast,
    accountRequests: fast,
    accountBytes: fast,
    broadcastBytes: fast,
    registrations: fast,
    mails: fast,
    mailsPerRecipient: fast,
    images: fast,
    warnings: fast,
    exempt: [],
    ...differing,
  }
  return new Limits(rules, metrics)
}

/** Two connected streams in this process. */
function pipe(): [Duplex, Duplex] {
  class End extends Duplex {
    other!: End

    constructor() {
      super({ allowHalfOpen: false })
    }

    override _read(): void {}

    override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
      this.other.push(chunk)
      setImmediate(done)
    }

    override _final(done: () => void): void {
      if (!this.other.destroyed) this.other.push(null)
      done()
    }

    override _destroy(error: Error | null, done: (error: Error | null) => void): void {
      setImmediate(() => this.other.destroy())
      done(error)
    }
  }
  const [one, two] = [new End(), new End()]
  one.other = two
  two.other = one
  return [one, two]
}
