/** Who a CONNECT is from, and whether the account may have one more connection. */
import { isPassword, mayBeAccount, type Principal } from '../auth/authenticate.js'
import { type CodeName, type Locale, toGatewayError } from '../core/errors.js'
import { LENGTHS } from '../core/model.js'
import type { ConnectParts } from './connect-parts.js'
import type { MqttConnection } from './connection.js'
import type { Identity } from './identity.js'
import type { BrokerParts } from './parts.js'
import { Refusal } from './refusal.js'
import { isKept } from './session.js'
import type { ConnectPacket } from './wire/connect-packet.js'
import { REASON } from './wire/reason-codes.js'

/** What CONNECT says of who it is from. */
interface Credentials {
  /** As the client sent it. */
  readonly clientId: string
  /** Email or user id. */
  readonly name: string | undefined
  /** A password, an app password, a token, or the credential of this client identifier. */
  readonly password: Buffer | undefined
}

/** Of a login that is refused for good; any other may be tried again. */
const REASONS: ReadonlyMap<CodeName, number> = new Map([
  ['ERROR_AUTH', REASON.BAD_USER_NAME_OR_PASSWORD],
  ['ACCOUNT_DISABLED', REASON.BANNED],
  ['EMAIL_UNVERIFIED', REASON.NOT_AUTHORIZED],
  ['SECOND_FACTOR_REQUIRED', REASON.NOT_AUTHORIZED],
])

const LANGUAGE = /\?lang=(en|zh-TW)$/

/** A user name may end with the language of the replies: `ann@example.com?lang=en`. No email address ends like that. */
export function readUserName(userName: string | undefined): {
  name: string | undefined
  locale: Locale | undefined
} {
  const [suffix = '', locale] = LANGUAGE.exec(userName ?? '') ?? []
  return { name: userName?.slice(0, userName.length - suffix.length), locale: locale as Locale | undefined }
}

/**
 * Whether the client does not say who it is. Devices that insist on a user name (many have one from the factory) are let in
 * like others; whether an account exists cannot be found out by it.
 */
const isAnonymous = ({ name, password }: Credentials): boolean =>
  name === undefined || (!mayBeAccount(name) && isPassword(password?.toString() ?? ''))

/** @returns undefined for an anonymous client, where the config lets them in */
export async function login(
  { services, options }: BrokerParts,
  connection: MqttConnection,
  credentials: Credentials,
): Promise<Principal | undefined> {
  const { clientId, name, password } = credentials
  if (options.anonymous && isAnonymous(credentials)) return undefined
  if (name === undefined || password === undefined) throw new Refusal(REASON.NOT_AUTHORIZED)
  const { accounts, authenticator, limits } = services
  // MQTT allows 65,535 bytes each. UTF-8 has at least as many bytes as the text has UTF-16 units.
  if (name.length > LENGTHS.email || password.length > LENGTHS.token)
    throw new Refusal(REASON.BAD_USER_NAME_OR_PASSWORD)
  const secret = password.toString()
  if (secret.length > LENGTHS.password && isPassword(secret))
    throw new Refusal(REASON.BAD_USER_NAME_OR_PASSWORD)
  const check = () => authenticator.byMqtt(name, secret, clientId)
  try {
    // Nobody guesses a token, a credential or an app password: a device that sends an old one must not delay its owner's password.
    if (!isPassword(secret)) return await check()
    const isWanted = () => !connection.isGone
    return await limits.logins.attempt(connection.remoteAddress, await accounts.keyOf(name), check, isWanted)
  } catch (thrown) {
    throw new Refusal(REASONS.get(toGatewayError(thrown).kind) ?? REASON.SERVER_UNAVAILABLE)
  }
}

/** Counts the connection for its account, within `mqtt.maxSessions` and `limits.connectionsPerAccount`. */
export function enter(
  parts: ConnectParts,
  connection: MqttConnection,
  packet: ConnectPacket,
  who: Identity,
): void {
  const { services, state, options, connections } = parts
  const { id, link, remoteAddress } = connection
  if (connection.hasLeft) throw new Refusal(REASON.SERVER_UNAVAILABLE)
  const isNewSession = isKept(packet, connection) && !state.sessions.has(id)
  if (isNewSession && state.sessions.countLike(id) >= options.maxSessions) {
    services.limits.count('mqtt.maxSessions')
    throw new Refusal(REASON.QUOTA_EXCEEDED)
  }
  const { userId, grantee } = who
  try {
    const rate = services.limits.enter(userId, connections.holderOf(id) !== undefined)
    link.pacer.enter(rate, services.limits.traffic(userId))
  } catch {
    throw new Refusal(REASON.QUOTA_EXCEEDED)
  }
  connection.identify(who)
  link.guest.entered()
  services.limits.logins.loggedInFrom(remoteAddress)
  connections.grant(connection, grantee)
}
