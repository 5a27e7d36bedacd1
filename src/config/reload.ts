/** Which keys take effect while the gateway runs, and what differs between two configs. */
import { type Config, KEYS } from './schema.js'

/** Each of these is read where it is used, so that a new value counts from then on. */
const LIVE: readonly string[] = [
  'accounts.broadcast',
  'accounts.registration',
  'accounts.verify',
  'delivery.offline',
  'http.origins',
  'limits.accountBytes',
  'limits.accountRequests',
  'limits.broadcastBytes',
  'limits.connectionsPerAccount',
  'limits.connectionsPerAddress',
  'limits.content',
  'limits.controlFrames',
  'limits.handshakes',
  'limits.handshakesPerAddress',
  'limits.httpRequests',
  'limits.images',
  'limits.knownShare',
  'limits.loginDelay',
  'limits.loginDelayMax',
  'limits.mails',
  'limits.mailsPerRecipient',
  'limits.registrations',
  'limits.requests',
  'limits.requestsBeforeLogin',
  'limits.strangerGrace',
  'limits.warnings',
  'log.level',
  'mqtt.acl',
  'privacy.email',
  'privacy.listing',
  'query.anonymous',
  'query.limit',
  'request.unknownFields',
  'roles.admins',
  'shutdown.spread',
]

export interface Reloaded {
  /** Keys with a new value that counts now. */
  readonly changed: readonly string[]
  /** Keys with a new value that counts from the next start on. */
  readonly atRestart: readonly string[]
}

/** Of two effective configs. Nothing of their values, which may be secrets. */
export function difference(from: Config, to: Config): Reloaded {
  const different = [...KEYS.keys()].filter(
    key => JSON.stringify(settingOf(from, key)) !== JSON.stringify(settingOf(to, key)),
  )
  return {
    changed: different.filter(key => LIVE.includes(key)),
    atRestart: different.filter(key => !LIVE.includes(key)),
  }
}

/** `from` with the values of `to` for the keys that take effect while the gateway runs. */
export function withLive(from: Config, to: Config): Config {
  const merged = structuredClone(from)
  for (const key of LIVE) setValue(merged, key.split('.'), settingOf(to, key))
  return merged
}

const settingOf = (config: Config, key: string): unknown =>
  key.split('.').reduce<unknown>((node, part) => (node as Record<string, unknown>)[part], config)

function setValue(node: unknown, [part = '', ...rest]: readonly string[], value: unknown): void {
  const object = node as Record<string, unknown>
  if (rest.length === 0) object[part] = value
  else setValue(object[part], rest, value)
}
