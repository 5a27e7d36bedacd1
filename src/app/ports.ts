/** The ports: who is let in at each, whether with TLS, and which front end takes the socket. */
import type { IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Config } from '../config/config.js'
import type { OnFault } from '../core/faults.js'
import type { Logger } from '../core/log.js'
import { type Route, testRoute, type UpgradeRefusal } from '../http/answers.js'
import { originCheck } from '../http/origins.js'
import { HttpServer, TURNED_AWAY, type Upgrade } from '../http/server.js'
import type { JsonServer } from '../json/server.js'
import { AddressList } from '../limits/address.js'
import type { Limits } from '../limits/limits.js'
import type { MqttBroker } from '../mqtt/broker.js'
import { encodeRefusal } from '../mqtt/wire/encode.js'
import { MqttWebSocketServer } from '../mqtt/wire/websocket.js'
import { Listener, type ListenerOptions } from '../net/listener.js'
import { TlsFiles } from '../net/tls.js'
import type { RestFront } from '../rest/route.js'
import { frameBytes } from './options.js'
import { ProxyWarnings } from './proxy-warnings.js'

export interface Ports {
  readonly http: AddressInfo | undefined
  readonly mqtt: AddressInfo | undefined
  readonly mqtts: AddressInfo | undefined
  readonly metrics: AddressInfo | undefined
  readonly admin: AddressInfo | undefined
}

export interface FrontParts {
  readonly json: JsonServer
  readonly broker: MqttBroker
  readonly limits: Limits
  /** Health and metrics, for the ops port. */
  readonly ops: Route
  /** The part of it that the HTTP port answers, too. */
  readonly publicOps: Route
  /** The pages below /account, for the HTTP port, as is the API. */
  readonly pages: Route
  /** undefined: switched off. */
  readonly rest: RestFront | undefined
  /** The paths of files, for the HTTP port. @param isOrigin whether pages of an origin may use them */
  readonly files: (isOrigin: (origin: string) => boolean) => Route
  readonly onFault: OnFault
  readonly log: Logger
  /** Listening sockets that the process was given, by the name of the port. */
  readonly sockets: ReadonlyMap<string, number>
}

interface Place {
  readonly host: string
  readonly port: number
}

/** Names of the ports, by which systemd gives their sockets to the process. */
type PortName = 'http' | 'mqtt' | 'mqtts' | 'ops' | 'admin'

/** They are open while clients are sent away. */
const OPERATORS: ReadonlySet<PortName> = new Set(['ops', 'admin'])

/** Sockets beyond `limits.connections`, for those that are no WebSocket yet or never: pages, probes, handshakes. */
const PLAIN_SOCKETS = 100

/** CONNACK, server unavailable (MQTT 3.1.1, table 3.1). Sent before CONNECT is read; clients take it as the answer. */
const MQTT_TURNED_AWAY = encodeRefusal(3)

/** From the page at `/` to those that are switched on. */
const pageLinks = ({ accounts, rest }: Config) => [
  ...(accounts.pages ? [{ to: 'account', text: 'Your account' }] : []),
  ...(rest.enabled ? [{ to: 'api', text: 'The REST API' }] : []),
]

export class Front {
  readonly #listeners: Listener[] = []
  readonly #http: HttpServer[] = []
  readonly #proxies: AddressList
  #isOrigin: (origin: string) => boolean
  readonly #loopback = new AddressList(['127.0.0.0/8', '::1'])
  #tls: TlsFiles | undefined
  #isClosing = false
  /** Those that stop to listen when clients are sent away. */
  readonly #stopping: Listener[] = []
  /** While clients are sent away: s until one should be back. */
  #comeBackSeconds: (() => number) | undefined
  readonly #proxyWarnings: ProxyWarnings

  constructor(
    private readonly config: Config,
    private readonly parts: FrontParts,
  ) {
    this.#proxies = new AddressList(config.http.trustProxy)
    this.#proxyWarnings = new ProxyWarnings(this.#proxies, parts.log)
    this.#isOrigin = originCheck(config.http.origins)
  }

  /** Resolves when all ports listen. @throws TlsError, or the system's error, for example EADDRINUSE */
  async listen(): Promise<Omit<Ports, 'admin'>> {
    const { http, mqtt, mqtts, ops, tls } = this.config
    if (tls.cert !== '') this.#tls = new TlsFiles({ ...tls, watchMs: tls.watch }, this.parts.log)
    const secure = this.#tls
    return {
      mqtt: mqtt.enabled ? await this.#listenMqtt('mqtt', undefined) : undefined,
      mqtts: secure && mqtt.enabled && mqtts.enabled ? await this.#listenMqtt('mqtts', secure) : undefined,
      http: http.enabled ? await this.#listenHttp(http.tls ? secure : undefined) : undefined,
      metrics: ops.enabled ? await this.#listenOps() : undefined,
    }
  }

  /** The port of operators. @throws as `listen`, which goes before */
  listenAdmin({
    hasTls,
    ...options
  }: Pick<ListenerOptions, 'maxSockets' | 'admit' | 'left' | 'take'> & {
    readonly hasTls: boolean
  }): Promise<AddressInfo> {
    const tls = hasTls ? this.#tls : undefined
    return this.#listen({ ...options, name: 'admin', tls, farewell: TURNED_AWAY })
  }

  /** Pages of these origins may connect from now on. */
  allowOrigins(origins: readonly string[]): void {
    this.#isOrigin = originCheck(origins)
    this.parts.rest?.allowOrigins(origins)
  }

  /**
   * Takes no more clients while those that are there are sent away: a WebSocket is refused with 503, and the ports of MQTT
   * do not listen, since some clients give up for good when a CONNACK refuses them (MQTT.js), and none when nobody listens.
   * The REST API is served on; its connections end with their next answer.
   * @param comeBackSeconds s until a client should be back
   */
  drain(comeBackSeconds: () => number): void {
    this.#comeBackSeconds = comeBackSeconds
    this.parts.rest?.leave()
    for (const listener of this.#stopping) void listener.stop()
  }

  /** Loads the certificate again. */
  reload(): void {
    this.#tls?.reload()
  }

  /** Takes no more connections and closes plain HTTP ones. Resolves when those of the front ends are closed, too. */
  async close(): Promise<void> {
    this.#isClosing = true
    this.#tls?.close()
    const closed = this.#listeners.map(listener => listener.close())
    for (const server of this.#http) server.close()
    await Promise.all(closed)
  }

  /** Cuts off clients that were sent away and have not closed their side. */
  cut(): void {
    for (const listener of this.#listeners) listener.cut()
  }

  #listenMqtt(name: 'mqtt' | 'mqtts', tls: TlsFiles | undefined): Promise<AddressInfo> {
    const { broker, limits } = this.parts
    return this.#listen({
      name,
      tls,
      stopsEarly: true,
      farewell: MQTT_TURNED_AWAY,
      maxSockets: this.config.limits.connections + PLAIN_SOCKETS,
      admit: address => this.#hasRoom(address) && limits.admit(address),
      left: address => limits.left(address),
      take: socket => broker.take(socket),
    })
  }

  #listenHttp(tls: TlsFiles | undefined): Promise<AddressInfo> {
    const { json, broker, limits, pages, files, publicOps, rest } = this.parts
    const { mqtt } = this.config
    const upgrades = new Map<string, Upgrade>([['/', (...upgrade) => json.upgrade(...upgrade)]])
    if (mqtt.enabled) {
      const webSocket = new MqttWebSocketServer(
        frameBytes(this.config),
        (stream, webSocket, { address, locale }) =>
          broker.take(stream, { webSocket, locale, ...(address && { remoteAddress: address }) }),
        limits,
      )
      upgrades.set(mqtt.websocketPath, (...upgrade) => webSocket.upgrade(...upgrade))
    }
    const server = this.#makeHttp(
      [
        testRoute,
        publicOps,
        pages,
        files(origin => this.#isOrigin(origin)),
        ...(rest === undefined ? [] : [rest.route]),
      ],
      upgrades,
    )
    return this.#listen({
      name: 'http',
      tls,
      farewell: TURNED_AWAY,
      maxSockets: this.config.limits.connections + PLAIN_SOCKETS,
      // The client behind a proxy is known only when its request is read.
      admit: address => this.#proxies.has(address) || limits.admit(address),
      left: address => {
        if (!this.#proxies.has(address)) limits.left(address)
      },
      take: socket => server.take(socket),
    })
  }

  /** Chat does not need the ops port: where it is in use already, the gateway serves without it. */
  async #listenOps(): Promise<AddressInfo | undefined> {
    const server = this.#makeHttp([this.parts.ops], new Map())
    const place = this.config.ops
    try {
      return await this.#listen({
        name: 'ops',
        tls: undefined,
        farewell: TURNED_AWAY,
        maxSockets: PLAIN_SOCKETS,
        admit: () => true,
        left: () => undefined,
        take: socket => server.take(socket),
      })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
      const about = { event: 'ops.unavailable', host: place.host, port: place.port }
      this.parts.log.error(about, 'ops.port is in use already: no metrics')
      return undefined
    }
  }

  #makeHttp(routes: readonly Route[], upgrades: ReadonlyMap<string, Upgrade>): HttpServer {
    const server = new HttpServer({
      routes,
      upgrades,
      links: pageLinks(this.config),
      handshakeTimeoutMs: this.config.limits.handshakeTimeout,
      clientOf: (peer, forwardedFor) => this.#proxies.client(peer, forwardedFor),
      refusal: (request, socket, address) => this.#refusal(request, socket, address),
      mayAsk: address => upgrades.size === 0 || this.parts.limits.askHttp(address),
      isStranger: address => upgrades.size > 0 && !this.parts.limits.isExempt(address),
      entrance: this.parts.limits.entrance,
      onTimeout: () => this.parts.limits.count('limits.handshakeTimeout'),
      onFault: this.parts.onFault,
    })
    this.#http.push(server)
    return server
  }

  /** @returns undefined if a WebSocket is let in */
  #refusal(
    request: IncomingMessage,
    socket: Duplex,
    address: string | undefined,
  ): UpgradeRefusal | undefined {
    const { origin } = request.headers
    if (origin !== undefined && !this.#isOrigin(origin)) {
      this.parts.log.info({ event: 'origin.refused', remoteAddress: address }, 'page not in http.origins')
      return { status: '403 Forbidden' }
    }
    this.#proxyWarnings.look(request, address)
    if (this.#comeBackSeconds !== undefined)
      return { status: '503 Service Unavailable', retryAfterSeconds: this.#comeBackSeconds() }
    if (!this.#hasRoom(address)) return { status: '503 Service Unavailable' }
    if (!this.#proxies.has(request.socket.remoteAddress)) return undefined
    const { limits } = this.parts
    if (!limits.admit(address)) return { status: '429 Too Many Requests' }
    socket.once('close', () => limits.left(address))
    return undefined
  }

  #hasRoom(address: string | undefined): boolean {
    return !this.#isClosing && this.parts.limits.hasRoom(address)
  }

  async #listen({
    name,
    stopsEarly = false,
    ...options
  }: Pick<ListenerOptions, 'tls' | 'farewell' | 'maxSockets' | 'admit' | 'left' | 'take'> & {
    name: PortName
    stopsEarly?: boolean
  }): Promise<AddressInfo> {
    const { log, limits, onFault, sockets } = this.parts
    const { host, port }: Place = this.config[name]
    const fd = sockets.get(name)
    const listener = new Listener({
      ...options,
      host,
      port,
      fd,
      handshakeTimeoutMs: this.config.limits.handshakeTimeout,
      onTlsError: (error: NodeJS.ErrnoException, remoteAddress) => {
        if (error.code === 'ERR_TLS_HANDSHAKE_TIMEOUT') limits.count('limits.handshakeTimeout')
        log.info({ event: 'tls.failed', remoteAddress, code: error.code }, 'TLS handshake failed')
      },
      onFault,
      onAcceptError: error =>
        log.error({ event: 'accept.failed', port, err: error }, 'connection not accepted'),
      onFull: () => limits.count('limits.connections'),
    })
    this.#listeners.push(listener)
    // Whoever connects to a socket that the process was given waits in it for the next process.
    if (stopsEarly || (fd !== undefined && !OPERATORS.has(name))) this.#stopping.push(listener)
    const address = await listener.listen()
    if (options.tls === undefined && !this.#loopback.has(address.address))
      log.warn({ event: 'tls.off', host, port: address.port }, 'open to other machines without TLS')
    return address
  }
}
