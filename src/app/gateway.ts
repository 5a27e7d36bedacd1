/** A gateway: starts its parts and closes them, each in order. */

import { setTimeout as delay } from 'node:timers/promises'
import { Passwords } from '../accounts/passwords.js'
import type { Config } from '../config/config.js'
import type { Audit } from '../core/audit.js'
import { GatewayError } from '../core/errors.js'
import { Faults } from '../core/faults.js'
import type { Logger } from '../core/log.js'
import { Metrics } from '../core/metrics.js'
import type { Tracing } from '../core/tracing.js'
import type { Operation } from '../handle/services.js'
import type { Route } from '../http/answers.js'
import { opsRoute } from '../http/ops.js'
import { type LimitRules, Limits } from '../limits/limits.js'
import type { LiveConnections } from '../live/live.js'
import { RestFront } from '../rest/route.js'
import { refusePart } from '../store/copy.js'
import type { Store } from '../store/store.js'
import { type AdminDoors, openAdminDoors } from './admin-doors.js'
import { nameTlsFault } from './checks.js'
import { closeParts, compose, type Parts } from './compose.js'
import { watchFileLimit } from './descriptors.js'
import { Drain } from './drain.js'
import { exportPage } from './export.js'
import { openAuditOf } from './line-files.js'
import { sayBackup, sayNoLinks, sayUpgrade } from './notices.js'
import { RunningOperation } from './operation.js'
import { handlerRules, limitRules, restRules } from './options.js'
import { baseUrlOf, filesPaths, pagesRoute } from './pages.js'
import { Front, type Ports } from './ports.js'
import { assignDeep, Reload } from './reload.js'
import { makeStore } from './stores.js'
import { startTracing } from './tracing.js'
import { startWatching, type Watching } from './watched.js'
import { backupStore } from './whole-store.js'

export { inheritedSockets } from './inherited.js'
export type { Ports } from './ports.js'

/** How long clients have to answer the closing handshake, or to close their side of a connection, ms. */
const CLOSE_GRACE_MS = 2000

/** The process that a gateway runs in. */
export interface Owner {
  /** Reads the config again. @throws ConfigError */
  load(): Config
  /** Listening sockets that the process was given, by the name of the port. */
  readonly sockets?: ReadonlyMap<string, number>
  /** An operator asks for it: `drain`, then `close`. */
  leave(): void
  /** The start makes a backup of data of an older format; undefined: no more. */
  onBackUp?(file: string | undefined): void
  /** The config is read again; settles when that is done. */
  onReload?(done: Promise<unknown>): void
}

export class Gateway {
  readonly #metrics = new Metrics()
  readonly #passwords: Passwords
  readonly #limitRules: LimitRules
  readonly #limits: Limits
  #reload: Reload | undefined
  readonly #faults: Faults
  #front: Front | undefined
  #rest: RestFront | undefined
  #parts: Parts | undefined
  #store: Store | undefined
  #audit: Audit | undefined
  #admin: AdminDoors | undefined
  #unwatchFiles: (() => void) | undefined
  #watching: Watching | undefined
  readonly #drain: Drain
  #closed: Promise<void> | undefined
  #tracing: Tracing | undefined
  /** Where browsers reach the pages. */
  #baseUrl: string | undefined

  constructor(
    private readonly config: Config,
    private readonly log: Logger,
    private readonly owner: Owner = {
      load: () => config,
      leave: () => void this.drain().then(() => this.close()),
    },
  ) {
    this.#drain = new Drain(config.shutdown.spread, log, this.#metrics)
    this.#faults = new Faults(log, this.#metrics)
    this.#limitRules = limitRules(config)
    this.#limits = new Limits(this.#limitRules, this.#metrics)
    const onBusy = () => this.#limits.count('passwords.queue')
    const onThreadError = (err: Error) => this.#faults.report('passwords.thread', err)
    this.#passwords = new Passwords({ ...config.passwords, onBusy, onThreadError })
  }

  /** Resolves when every listener is up. @throws what an operator can act on; then nothing stays open */
  async start(): Promise<Ports> {
    try {
      return await this.#start()
    } catch (error) {
      await this.close()
      throw error
    }
  }

  async #start(): Promise<Ports> {
    const { config, log } = this
    this.#unwatchFiles = watchFileLimit(config, log, this.#metrics)
    const { commits, syncs } = this.#metrics
    const store = await makeStore(config, config.store.type, {
      onUpgrade: begun => sayUpgrade(log, begun),
      onBackUp: file => {
        if (file !== undefined) sayBackup(log, file)
        this.owner.onBackUp?.(file)
      },
      times: { commit: s => commits.observe(s), sync: s => syncs.observe(s) },
    })
    this.#store = store
    await store.open()
    await refusePart(store)
    const audit = await this.#openAudit()
    this.#audit = audit
    this.#tracing = await startTracing(config, log)
    const tracing = this.#tracing
    const given = { config, log, audit, tracing, metrics: this.#metrics, limits: this.#limits }
    const operation = (live: LiveConnections) =>
      new RunningOperation({
        config,
        log,
        live,
        backup: (file, withFiles) =>
          backupStore(config, store, { file, withFiles, held: this.#parts?.heldFiles }),
        exportPage: (id, from) => exportPage(store, id, from),
        reload: () => this.#runReload(),
        drain: seconds => this.#leave(seconds),
        greetingKey: () => this.#parts?.json.key,
        totals: () => this.#metrics.totals(),
      })
    const baseUrl = () => (config.accounts.pages ? this.#baseUrl : undefined)
    const filesUrl = () => this.#baseUrl
    const links = { baseUrl, filesUrl }
    const parts = await compose({ ...given, passwords: this.#passwords, operation, ...links }, store)
    this.#parts = parts
    this.#watching = startWatching(config, store, parts)
    this.#metrics.watch(this.#watching.sources)
    this.#reload = this.#makeReload(parts)
    if (config.mqtt.enabled) await parts.broker.start()
    if (config.rest.enabled)
      this.#rest = new RestFront({
        ...{ ...restRules(config), services: parts.services, metrics: this.#metrics },
        onFault: this.#faults.report,
      })
    this.#front = new Front(config, {
      ...parts,
      ops: this.#opsRoute(true),
      publicOps: this.#opsRoute(config.metrics.public),
      pages: pagesRoute(parts.services, this.#metrics, config, this.#faults.report),
      rest: this.#rest,
      files: isOrigin =>
        filesPaths(
          parts.services,
          { config, metrics: this.#metrics, onFault: this.#faults.report },
          isOrigin,
        ),
      log,
      onFault: this.#faults.report,
      sockets: this.owner.sockets ?? new Map(),
    })
    const ports = await this.#front.listen().catch(nameTlsFault)
    void parts.upkeep.run()
    this.#baseUrl = baseUrlOf(config, ports.http)
    if (this.#baseUrl === undefined) sayNoLinks(config, log)
    await parts.outbox.start()
    const { services } = parts
    const doors = { config, services, front: this.#front, metrics: this.#metrics }
    this.#admin = await openAdminDoors({ ...doors, onFault: this.#faults.report })
    return { ...ports, admin: this.#admin.address }
  }

  /** Loads the certificate and the config again; connections stay. A fault of the config is logged, and nothing is changed. */
  reload(): void {
    this.#front?.reload()
    this.#audit?.reopen()
    void this.#reloadBySignal()
  }

  async #reloadBySignal(): Promise<void> {
    try {
      await this.#runReload()
      this.#audit?.record({ event: 'config.reloaded', front: 'signal' })
    } catch (thrown) {
      if (!(thrown instanceof GatewayError)) this.#faults.report('reload', thrown)
    }
  }

  #makeReload({ admins, broker, services }: Parts): Reload {
    const { live, logins, rules } = services
    const { log, owner } = this
    return new Reload(
      {
        log,
        load: owner.load,
        apply: config => {
          assignDeep(this.#limitRules, limitRules(config))
          assignDeep(rules, handlerRules(config))
          admins.current = new Set(config.roles.admins)
          broker.replaceAcl(config.mqtt.acl)
          this.#front?.allowOrigins(config.http.origins)
          this.#drain.spreadMs = config.shutdown.spread
        },
        // Open connections have the role of their login.
        demote: id =>
          logins.revoke(
            id,
            () => false,
            () => live.endAll(id, 'ERROR_CONNECTION_CLOSED'),
          ),
      },
      this.config,
    )
  }

  async #runReload(): ReturnType<Operation['reload']> {
    if (this.#reload === undefined) throw new GatewayError('STORE_UNAVAILABLE', { reason: 'not started' })
    const done = this.#reload.run()
    this.owner.onReload?.(done)
    return done
  }

  /** An exception that no handler caught; see Faults. */
  reportUncaught(err: unknown): void {
    this.#faults.reportUnknown(err)
  }

  /** Takes no more clients, and sends away those that are there over `shutdown.spread`. Then call `close`. */
  async drain(): Promise<void> {
    const [parts, front] = [this.#parts, this.#front]
    if (parts === undefined || front === undefined || this.#closed !== undefined) return
    await this.#drain.run(front, [parts.json, parts.broker])
  }

  /** How long `drain` takes at most, ms. */
  get drainMs(): number {
    return this.#drain.spreadMs
  }

  /** Clients that `drain` has not yet sent away leave all at once. */
  hurry(): void {
    this.#drain.hurry()
  }

  #leave(seconds?: number): ReturnType<Operation['drain']> {
    const drain = this.#drain
    const { json, broker } = this.#parts ?? {}
    const connections = (json?.connections ?? 0) + (broker?.connections ?? 0)
    if (!drain.isOn && this.#closed === undefined) {
      if (seconds !== undefined) drain.spreadMs = seconds * 1000
      this.owner.leave()
    }
    return { pid: process.pid, connections, seconds: drain.spreadMs / 1000 }
  }

  /** Answers what was accepted, sends clients away, writes what waits, closes the store. Called again it waits for the same. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    this.#drain.hurry()
    try {
      await this.#closeParts()
    } finally {
      await this.#passwords.close()
      await this.#store?.close()
    }
  }

  async #closeParts(): Promise<void> {
    const parts = this.#parts
    // Before its sockets close: who was answered would not hear of it.
    await this.#rest?.close(CLOSE_GRACE_MS)
    const listeners = this.#front?.close()
    await this.#admin?.close()
    await this.#watching?.stop()
    if (parts !== undefined) await closeParts(parts, CLOSE_GRACE_MS)
    const late = setTimeout(() => this.#front?.cut(), CLOSE_GRACE_MS)
    await listeners
    clearTimeout(late)
    await Promise.race([parts?.services.files.idle(), delay(CLOSE_GRACE_MS, undefined, { ref: false })])
    this.#unwatchFiles?.()
    await this.#tracing?.close()
    await this.#audit?.close()
  }

  #openAudit(): Promise<Audit> {
    const { config, log } = this
    const onError = (err: Error) => log.error({ event: 'audit.failed', err }, 'audit line not written')
    const onDropped = () => {
      this.#limits.count('audit.file')
      log.error({ event: 'audit.dropped' }, 'audit line dropped: the disk is too slow')
    }
    return openAuditOf(config, { onError, onDropped })
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

  /** @returns why the gateway is not ready, if it is not */
  async #notReady(): Promise<string | undefined> {
    if (this.#closed !== undefined) return 'closing'
    if (this.#drain.isOn) return 'draining'
    if (this.config.mqtt.enabled && this.#parts?.broker.isRunning !== true) return 'broker is not running'
    return (await this.#parts?.watch.isGood()) === true ? undefined : 'store does not answer'
  }
}
