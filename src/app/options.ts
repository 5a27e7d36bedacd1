/** What each part takes of the config: units and names of the config's keys become the part's own. */
import { hashThreads } from '../accounts/passwords.js'
import type { UserNameRules } from '../accounts/user-names.js'
import type { LoginRules } from '../auth/logins.js'
import type { TokenKeyOptions } from '../auth/token-keys.js'
import type { Config } from '../config/config.js'
import type { OnFault } from '../core/faults.js'
import type { ServerKey } from '../encryption/server-key.js'
import type { HandlerRules } from '../handle/services.js'
import type { PictureOptions } from '../images/pictures.js'
import type { RetentionLimits } from '../inbox/retention.js'
import type { JsonServerOptions } from '../json/server.js'
import type { LimitRules } from '../limits/limits.js'
import type { BrokerOptions } from '../mqtt/options.js'
import { maxConnectBytes } from '../mqtt/wire/connect-rules.js'

export const keyOptions = ({ accessLifetime, keyLifetime }: Config['tokens']): TokenKeyOptions => ({
  accessLifetimeMs: accessLifetime,
  keyLifetimeMs: keyLifetime,
})

export const loginRules = ({ refreshLifetime, refreshGrace, perAccount }: Config['tokens']): LoginRules => ({
  refreshLifetimeMs: refreshLifetime,
  refreshGraceMs: refreshGrace,
  perAccount,
})

export const userNameRules = ({ accounts }: Config): UserNameRules => ({
  reserved: accounts.reservedNames,
  holdMs: accounts.nameHold,
})

/** Thumbnails are read when their turn comes, and bodies are bounded by `rest.maxBufferedBytes`. */
const MAX_WAITING_IMAGES = 64

export const pictureOptions = ({ images }: Config): PictureOptions => ({
  maxPixels: images.maxPixels,
  timeoutMs: images.timeout,
  maxWaiting: MAX_WAITING_IMAGES,
})

export const retentionLimits = ({ inbox, devices }: Config): RetentionLimits => ({
  maxMessages: inbox.maxMessages,
  maxBytes: inbox.maxBytes,
  maxAgeMs: inbox.maxAge,
  deviceExpiryMs: devices.expiry,
})

/** `publicUrl` is known when the ports listen. */
export const handlerRules = (config: Config): Omit<HandlerRules, 'publicUrl'> => ({
  anonymousQuery: config.query.anonymous,
  queryLimit: config.query.limit,
  privacy: { ...config.privacy },
  maxContentBytes: config.limits.content,
  offlineDelivery: config.delivery.offline,
  registration: config.accounts.registration,
  broadcast: config.accounts.broadcast,
  verify: config.accounts.verify,
  undoLifetimeMs: config.accounts.undoLifetime,
  files: config.files.enabled,
  dedup: config.dedup.window > 0,
  maxImageBytes: config.images.maxBytes,
  unknownFields: config.request.unknownFields,
  maxDepth: config.limits.depth,
  maxValues: config.limits.values,
})

/** @param key of the greeting */
export const jsonOptions = (
  { limits, delivery, heartbeat, locale, json }: Config,
  key: ServerKey,
  onFault: OnFault,
): JsonServerOptions => ({
  key,
  encryption: json.encryption,
  onFault,
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
})

export const brokerOptions = ({
  mqtt,
  delivery,
  locale,
  privacy,
  limits,
  shutdown,
}: Config): BrokerOptions => ({
  ...mqtt,
  presence: privacy.presence,
  serverReference: shutdown.serverReference,
  presenceWindowMs: mqtt.presenceWindow,
  locale,
  // CONNECT has whole seconds.
  keepaliveLimitSeconds: Math.ceil(mqtt.keepaliveLimit / 1000),
  bytesPerRequest: limits.requestBytes,
  connectTimeoutMs: mqtt.connectTimeout,
  windowChars: delivery.windowBytes,
  stallTimeoutMs: delivery.stallTimeout,
  stateLimits: { ...mqtt, sessionExpiryMs: mqtt.sessionExpiry },
})

/** What an MQTT client may send behind its CONNECT before it has read CONNACK, over WebSocket in the same message. */
const BEHIND_CONNECT_BYTES = 65_536

/** Longest WebSocket message of an MQTT client. */
export function frameBytes({ mqtt }: Config) {
  const frame = Math.max(mqtt.maxFrameBytes, mqtt.maxPacketBytes)
  return { frame, frameBeforeConnack: Math.min(frame, maxConnectBytes(mqtt) + BEHIND_CONNECT_BYTES) }
}

/** What the REST API takes of the config. */
export const restRules = ({ http, limits, locale, rest }: Config) => ({
  locale,
  origins: http.origins,
  maxBytes: limits.frame,
  maxBytesBeforeLogin: limits.frameBeforeLogin,
  bodyTimeoutMs: limits.handshakeTimeout,
  maxBufferedBytes: rest.maxBufferedBytes,
})

/** A bucket that holds ten seconds of its rate. */
const rate = (perSecond: number) => ({ perSecond, burst: 10 * perSecond })

const perHour = (count: number) => ({ perSecond: count / 3600, burst: count })

/** One more than there are threads, so that no thread waits while an account is looked up. */
const hashesAtOnce = (concurrency: number) => hashThreads(concurrency) + 1

export function limitRules({ limits, passwords }: Config): LimitRules {
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
    registrations: perHour(limits.registrations),
    mails: perHour(limits.mails),
    mailsPerRecipient: perHour(limits.mailsPerRecipient),
    images: perHour(limits.images),
    warnings: { perSecond: limits.warnings / 60, burst: limits.warnings },
    exempt: limits.exempt,
  }
}
