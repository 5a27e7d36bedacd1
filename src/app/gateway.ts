/** The composition root: builds every concrete part from the config, starts and closes them in order. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { Accounts } from '../accounts/accounts.js'
import { passwordCheck } from '../accounts/password-rules.js'
import { hashThreads, Passwords } from '../accounts/passwords.js'
import { Authenticator } from '../auth/authenticate.js'
import { ExternalTokens } from '../auth/external.js'
import { LoginLog } from '../auth/login-log.js'
import { Logins } from '../auth/logins.js'
import { TokenKeys } from '../auth/token-keys.js'
import type { Config } from '../config/config.js'
import { type Audit, openAudit } from '../core/audit.js'
import { Faults } from '../core/faults.js'
import type { Logger } from '../core/log.js'
import { Metrics } from '../core/metrics.js'
import type { Services } from '../handle/context.js'
import { MessageIds } from '../handle/message-id.js'
import type { Route } from '../http/answers.js'
import { opsRoute } from '../http/ops.js'
import { Cursors } from '../inbox/cursors.js'
import { Inbox } from '../inbox/inbox.js'
import { Retention } from '../inbox/retention.js'
import { JsonServer } from '../json/server.js'
import { type LimitRules, Limits } from '../limits/limits.js'
import { LiveConnections } from '../live/live.js'
import { MqttBroker } from '../mqtt/broker.js'
import { watchFiles } from '../net/file-limit.js'
import type { Store } from '../store/store.js'
import { StoreWatch } from '../store/watch.js'
import { fileLimitFault, nameTlsFault } from './checks.js'
import { keyOptions } from './keys.js'
import { Front, type Ports } from './ports.js'
import { makeStore } from './stores.js'

export type { Ports } from './ports.js'

/** How long clients have to answer the closing handshake, or to close their side of a connection, ms. */
const CLOSE_GRACE_MS = 2000

/** How often keys are looked at for their age, and sessions for what has expired. */
const UPKEEP_EVERY_MS = 3_600_000

interface Parts {
  readonly watch: StoreWatch
  readonly store: Store
  readonly cursors: Cursors
  readonly inbox: Inbox
  readonly ids: MessageIds
  readonly retention: Retention
  readonly limits: Limits
  readonly json: JsonServer
  readonly broker: MqttBroker
}

export class Gateway {
  readonly #metrics = new Metrics()
  readonly #passwords: Passwords
  readonly #limits: Limits
  readonly #faults: Faults
  #front: Front | undefined
  #parts: Parts | undefined
  #store: Store | undefined
  #audit: Audit | undefined
  #upkeep: NodeJS.Timeout | undefined
  #unwatchFiles: (() => void) | undefined
  #saidOutOfFilesAt = Number.NEGATIVE_INFINITY
  #isClosing = false

  constructor(
    private readonly config: Config,
    private readonly log: Logger,
  ) {
    this.#faults = new Faults(log, this.#metrics)
    this.#limits = new Limits(limitRules(config), this.#metrics)
    const onBusy = () => this.#limits.count('passwords.queue')
    const onThreadError = (err: Error) => this.#faults.report('passwords.thread', err)
    this.#passwords = new Passwords({ ...config.passwords, onBusy, onThreadError })
  }

  /** Resolves when every listener is up. @throws the fault that an operator can act on; then nothing stays open */
  async start(): Promise<Ports> {
    try {
      return await this.#start()
    } catch (error) {
      await this.close()
      throw error
    }
  }

  async #start(): Promise<Ports> {
    const { config } = this
    const fault = fileLimitFault(config)
    if (fault !== undefined) this.log.warn({ event: 'files.too-few' }, fault)
    this.#unwatchFiles = watchFiles(err => this.#outOfFiles(err))
    const store = await makeStore(config)
    this.#store = store
    await store.open()
    const parts = await this.#build(store)
    this.#parts = parts
    if (config.mqtt.enabled) await parts.broker.start()
    this.#front = new Front(config, {
      ...parts,
      ops: this.#opsRoute(true),
      publicOps: this.#opsRoute(config.metrics.public),
      log: this.log,
      onFault: this.#faults.report,
    })
    return this.#front.listen().catch(nameTlsFault)
  }

  /** Loads the certificate again; connections stay. */
  reload(): void {
    this.#front?.reload()
  }

  /** An exception that no handler caught; see Faults. */
  reportUncaught(err: unknown): void {
    this.#faults.reportUnknown(err)
  }

  /** Answers what was accepted, sends clients away, writes what waits, closes the store. Safe to call twice. */
  async close(): Promise<void> {
    if (this.#isClosing) return
    this.#isClosing = true
    try {
      await this.#closeParts()
    } finally {
      await this.#passwords.close()
      await this.#store?.close()
    }
  }

  async #closeParts(): Promise<void> {
    const parts = this.#parts
    const listeners = this.#front?.close()
    if (parts !== undefined) {
      parts.watch.stop()
      parts.json.stopTaking()
      parts.broker.stopTaking()
      await parts.inbox.drained()
      await parts.json.close(CLOSE_GRACE_MS)
      await parts.broker.close()
      await parts.inbox.drained()
      await parts.retention.close()
      await parts.cursors.close()
      await parts.ids.close()
    }
    const late = setTimeout(() => this.#front?.cut(), CLOSE_GRACE_MS)
    await listeners
    clearTimeout(late)
    clearInterval(this.#upkeep)
    this.#unwatchFiles?.()
    await this.#audit?.close()
  }

  async #build(store: Store): Promise<Parts> {
    const { config, log } = this
    const cursors = new Cursors(store, log)
    const retention = new Retention(
      store,
      cursors,
      {
        maxMessages: config.inbox.maxMessages,
        maxBytes: config.inbox.maxBytes,
        maxAgeMs: config.inbox.maxAge,
        deviceExpiryMs: config.devices.expiry,
      },
      this.#metrics,
      log,
    )
    const inbox = new Inbox(store, cursors, retention, this.#metrics, log, config.inbox)
    retention.start(() => inbox.touchAll())
    const limits = this.#limits
    const ids = new MessageIds(store)
    await ids.open()
    const services: Services = {
      ...(await this.#identity(store)),
      live: new LiveConnections(config.sessions.multiple),
      inbox,
      ids,
      limits,
      log,
      loginLog: new LoginLog(log, this.#metrics),
      rules: {
        anonymousQuery: config.query.anonymous,
        queryLimit: config.query.limit,
        privacy: config.privacy,
        maxContentBytes: config.limits.content,
        offlineDelivery: config.delivery.offline,
        broadcast: config.accounts.broadcast,
        dedup: config.dedup.window > 0,
        unknownFields: config.request.unknownFields,
        maxDepth: config.limits.depth,
        maxValues: config.limits.values,
      },
    }
    const json = new JsonServer(services, this.#metrics, this.#jsonOptions(await greetingKey(store)))
    const broker = new MqttBroker(services, store, this.#metrics, this.#brokerOptions())
    const watch = new StoreWatch(store, log)
    return { watch, ids, store, cursors, inbox, retention, limits, json, broker }
  }

  /** Who is who, and what is written of it. */
  async #identity(store: Store): Promise<Pick<Services, 'accounts' | 'logins' | 'authenticator' | 'audit'>> {
    const { passwords, tokens, jwt, roles, audit } = this.config
    const accounts = new Accounts(store, this.#passwords, await passwordCheck(passwords))
    const keys = new TokenKeys(store, keyOptions(tokens))
    const isRotated = await keys.open()
    const logins = new Logins(store, keys, {
      refreshLifetimeMs: tokens.refreshLifetime,
      refreshGraceMs: tokens.refreshGrace,
      perAccount: tokens.perAccount,
    })
    const external = ExternalTokens.isConfigured(jwt) ? new ExternalTokens(jwt) : undefined
    const authenticator = new Authenticator({
      accounts,
      logins,
      keys,
      external,
      admins: new Set(roles.admins),
    })
    this.#audit = await openAudit(audit.file, {
      onError: err => this.log.error({ event: 'audit.failed', err }, 'audit line not written'),
      onDropped: () => {
        this.#limits.count('audit.file')
        this.log.error({ event: 'audit.dropped' }, 'audit line dropped: the disk is too slow')
      },
    })
    if (isRotated) this.#audit.record({ event: 'keys.rotated' })
    this.#upkeep = setInterval(() => this.#keepUp(keys, logins), UPKEEP_EVERY_MS).unref()
    return { accounts, logins, authenticator, audit: this.#audit }
  }

  /** Once a minute: it is found once a second for as long as it lasts. */
  #outOfFiles(err: NodeJS.ErrnoException): void {
    this.#metrics.outOfFiles.inc()
    const now = performance.now()
    if (now - this.#saidOutOfFilesAt < 60_000) return
    this.#saidOutOfFilesAt = now
    this.log.error(
      { event: 'files.out', code: err.code },
      'no file descriptor left: new connections are closed',
    )
  }

  #keepUp(keys: TokenKeys, logins: Logins): void {
    const rotated = (isNew: boolean) => isNew && this.#audit?.record({ event: 'keys.rotated' })
    Promise.all([keys.rotateIfDue().then(rotated), logins.sweep()]).catch(err =>
      this.log.error({ event: 'store.failed', operation: 'keepUp', err }, 'tokens not tended'),
    )
  }

  #jsonOptions(greeting: string): ConstructorParameters<typeof JsonServer>[2] {
    const { limits, delivery, heartbeat, locale } = this.config
    return {
      greeting,
      locale,
      maxPipelined: limits.pipelined,
      maxRefusals: limits.refusals,
      maxBufferedBytes: delivery.maxBufferedBytes,
      maxMessageBytes: limits.frame,
      maxMessageBeforeLogin: limits.frameBeforeLogin,
      loginTimeoutMs: limits.loginTimeout,
      pingIntervalMs: heartbeat.interval,
      pingTimeoutMs: heartbeat.timeout,
      stallTimeoutMs: delivery.stallTimeout,
      windowMessages: delivery.windowMessages,
      windowChars: delivery.windowBytes,
    }
  }

  #brokerOptions(): ConstructorParameters<typeof MqttBroker>[3] {
    const { mqtt, delivery, locale, privacy, limits } = this.config
    return {
      ...mqtt,
      presence: privacy.presence,
      presenceWindowMs: mqtt.presenceWindow,
      locale,
      // CONNECT has whole seconds.
      keepaliveLimitSeconds: Math.ceil(mqtt.keepaliveLimit / 1000),
      bytesPerRequest: limits.requestBytes,
      connectTimeoutMs: mqtt.connectTimeout,
      windowChars: delivery.windowBytes,
      stallTimeoutMs: delivery.stallTimeout,
      sessionExpiryMs: mqtt.sessionExpiry,
    }
  }

  #opsRoute(hasMetrics: boolean): Route {
    const { health, metrics } = this.config
    return opsRoute({
      health: health.enabled,
      metrics: metrics.enabled && hasMetrics ? this.#metrics.registry : undefined,
      cacheMs: metrics.cache,
      notReady: () => this.#notReady(),
      onFault: this.#faults.report,
    })
  }

  async #notReady(): Promise<string | undefined> {
    if (this.#isClosing) return 'closing'
    if (this.config.mqtt.enabled && this.#parts?.broker.isRunning !== true) return 'broker is not running'
    return (await this.#parts?.watch.isGood()) === true ? undefined : 'store does not answer'
  }
}

/** Bursts are ten seconds' worth. */
const rate = (perSecond: number) => ({ perSecond, burst: 10 * perSecond })

/** One more than there are threads, so that none waits for a look-up. */
const hashesAtOnce = (concurrency: number) => hashThreads(concurrency) + 1

function limitRules({ limits, passwords }: Config): LimitRules {
  const knownShare = limits.knownShare / 100
  return {
    crowd: {
      max: limits.connections,
      reserved: Math.floor(limits.connections * knownShare),
      graceMs: limits.strangerGrace,
    },
    passwords: { concurrency: hashesAtOnce(passwords.concurrency), queue: passwords.queue },
    requestsBeforeLogin: rate(limits.requestsBeforeLogin),
    httpRequests: rate(limits.httpRequests),
    controlFrames: rate(limits.controlFrames),
    admission: {
      perAddress: limits.connectionsPerAddress,
      handshakes: rate(limits.handshakes),
      handshakesPerAddress: rate(limits.handshakesPerAddress),
      knownShare,
    },
    failedLogins: {
      perAccount: limits.failedLogins,
      perAddress: limits.failedLoginsPerAddress,
      delayMs: limits.loginDelay,
      maxDelayMs: limits.loginDelayMax,
    },
    connectionsPerAccount: limits.connectionsPerAccount,
    requests: rate(limits.requests),
    accountRequests: rate(limits.accountRequests),
    accountBytes: rate(limits.accountBytes),
    broadcastBytes: rate(limits.broadcastBytes),
    registrations: { perSecond: limits.registrations / 3600, burst: limits.registrations },
    warnings: { perSecond: limits.warnings / 60, burst: limits.warnings },
    exempt: limits.exempt,
  }
}

const KEY_PLACE = ['greeting-key'] as const

/** The greeting's X25519 public key (RFC 7748), made on first start and kept with the data; 64 upper-case hex digits. */
async function greetingKey(store: Store): Promise<string> {
  const kept = await store.kvGet('meta', KEY_PLACE)
  const publicKey =
    kept === undefined
      ? await makeKey(store)
      : createPublicKey(createPrivateKey({ key: Buffer.from(kept), format: 'der', type: 'pkcs8' }))
  const { x } = publicKey.export({ format: 'jwk' })
  return Buffer.from(x ?? '', 'base64url')
    .toString('hex')
    .toUpperCase()
}

async function makeKey(store: Store): Promise<KeyObject> {
  const { publicKey, privateKey } = generateKeyPairSync('x25519')
  await store.kvWrite([
    { put: 'meta', key: KEY_PLACE, value: privateKey.export({ format: 'der', type: 'pkcs8' }) },
  ])
  return publicKey
}
