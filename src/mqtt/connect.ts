/**
 * CONNECT, from the packet to the session: who it is, what the ACL says of its will, the limits, the connection whose client
 * identifier it takes over, the stored session, CONNACK, and what waits for the client. A refusal is an Error with CONNACK's
 * return code (MQTT 3.1.1, table 3.1).
 */
import { isPassword, type Principal } from '../auth/authenticate.js'
import { GatewayError, type Locale, toGatewayError } from '../core/errors.js'
import { LENGTHS } from '../core/model.js'
import { scopedId } from './acl/client-id.js'
import type { Identity, MqttConnection } from './connection.js'
import type { Connections } from './connections.js'
import type { BrokerParts } from './parts.js'
import { recordLogin } from './record-login.js'
import { openInbox, restoreFilters } from './subscribe.js'
import { mayLeave, storedWill, type Wills } from './wills.js'
import type { ConnectPacket } from './wire/connect-rules.js'
import { encodeConnack, encodeRefusal } from './wire/encode.js'

/** What a connection is let in with; see makeParts. */
export interface ConnectParts extends BrokerParts {
  readonly connections: Connections
  readonly wills: Wills
}

/** What CONNECT says of who it is from. */
interface Credentials {
  /** As the client sent it. */
  readonly clientId: string
  /** Email or user id. */
  readonly name: string | undefined
  /** A password, a token, or the credential of this client identifier. */
  readonly password: Buffer | undefined
}

/** Resolves when the client is refused, or was sent what waited for it. @throws what is no refusal */
export async function connect(
  parts: ConnectParts,
  connection: MqttConnection,
  packet: ConnectPacket,
): Promise<void> {
  const { name, locale } = readUserName(packet.userName)
  if (locale !== undefined) connection.locale = locale
  const { password, will, clean, version } = packet
  const clientId = packet.clientId || `auto-${crypto.randomUUID()}`
  // From before the login, so that a revocation while it is checked counts.
  const since = parts.services.authenticator.since()
  let who: Principal | undefined
  try {
    who = await login(parts, connection, { clientId, name, password })
    if (will !== undefined && !mayLeave(parts, connection, { clientId, will, who })) throw new Refusal(5)
    connection.begin({ clientId: scopedId(who?.user.id, clientId), clean, version })
    const stored = will && storedWill(connection, will, who)
    if (who !== undefined) {
      const { user, login } = who
      const grantee = { clientId, role: login.role }
      enter(parts, connection, { userId: user.id, login, grantee, permissions: since.permissions(user.id) })
    }
    await parts.connections.order.run(connection.id, () => openSession(parts, connection, stored))
    recordLogin(parts, connection, { clientId, who, returnCode: 0 })
  } catch (thrown) {
    const returnCode = returnCodeOf(thrown)
    recordLogin(parts, connection, { clientId, who, returnCode })
    connection.transport.send(encodeRefusal(returnCode))
    connection.transport.destroy()
    if (!isExpected(thrown)) throw thrown
    return
  }
  await begin(parts, connection)
}

const LANGUAGE = /\?lang=(en|zh-TW)$/

/** A user name may end with the language of the replies: `ann@example.com?lang=en`. No email address ends like that. */
export function readUserName(userName: string | undefined): {
  name: string | undefined
  locale: Locale | undefined
} {
  const [suffix = '', locale] = LANGUAGE.exec(userName ?? '') ?? []
  return { name: userName?.slice(0, userName.length - suffix.length), locale: locale as Locale | undefined }
}

/** @returns undefined for an anonymous client, where the config lets them in */
async function login(
  { services, options }: BrokerParts,
  connection: MqttConnection,
  { clientId, name, password }: Credentials,
): Promise<Principal | undefined> {
  if (name === undefined && options.anonymous) return undefined
  if (name === undefined || password === undefined) throw new Refusal(5)
  const { accounts, authenticator, limits } = services
  // MQTT allows 65,535 bytes each. UTF-8 has at least as many bytes as the text has UTF-16 units.
  if (name.length > LENGTHS.email || password.length > LENGTHS.token) throw new Refusal(4)
  const secret = password.toString()
  if (secret.length > LENGTHS.password && isPassword(secret)) throw new Refusal(4)
  const check = () => authenticator.byMqtt(name, secret, clientId)
  try {
    // Nobody guesses a token or a credential: a device that sends an old one must not delay its owner's password.
    if (!isPassword(secret)) return await check()
    const isWanted = () => !connection.isGone
    return await limits.logins.attempt(connection.remoteAddress, await accounts.keyOf(name), check, isWanted)
  } catch (thrown) {
    throw new Refusal(toGatewayError(thrown).kind === 'ERROR_AUTH' ? 4 : 3)
  }
}

/** Counts the connection for its account, within `mqtt.maxSessions` and `limits.connectionsPerAccount`. */
function enter(parts: ConnectParts, connection: MqttConnection, who: Identity): void {
  const { services, state, options, connections } = parts
  const { id, clean, link, remoteAddress } = connection
  if (connection.hasLeft) throw new Refusal(3)
  const isNewSession = !clean && !state.sessions.has(id)
  if (isNewSession && state.sessions.countLike(id) >= options.maxSessions) {
    services.limits.count('mqtt.maxSessions')
    throw new Refusal(3)
  }
  const { userId, grantee } = who
  try {
    const rate = services.limits.enter(userId, connections.holderOf(id) !== undefined)
    link.pacer.enter(rate, services.limits.traffic(userId).sent)
  } catch {
    throw new Refusal(3)
  }
  connection.identify(who)
  link.guest.entered()
  services.limits.logins.loggedInFrom(remoteAddress)
  connections.grant(connection, grantee)
}

/**
 * Takes over the session, restores what is stored of it and sends CONNACK. All that makes the connection the holder of its
 * session happens in one event-loop turn: a packet that is queued before it is in the stored queue, one after it is live.
 */
async function openSession(
  parts: ConnectParts,
  connection: MqttConnection,
  will: MqttConnection['will'],
): Promise<void> {
  const { state, connections } = parts
  await takeOver(parts, connection)
  connection.isResumed = await state.sessions.touch(connection.id, connection.clean)
  const filters = await restoreFilters(parts, connection)
  await storeWill(parts, connection, will)
  if (connection.hasLeft) {
    if (will !== undefined) await state.delWill(connection)
    throw new Refusal(3)
  }
  connection.will = will
  for (const messageId of state.incomingIds(connection)) connection.unreleased.add(messageId)
  for (const { topic, qos } of filters) connection.delivery.subscribe(topic, qos)
  connections.hold(connection)
  connection.transport.send(encodeConnack(connection.isResumed))
}

/** Ends the connection that has this client identifier [MQTT-3.1.4-2], and publishes its will. */
async function takeOver({ connections, wills }: ConnectParts, { id }: MqttConnection): Promise<void> {
  const old = connections.holderOf(id)
  old?.endsFor('taken-over')
  // What it has sent before counts, also where it was read faster than handled.
  old?.transport.catchUp()
  old?.transport.destroy()
  // Of a connection that ended just before, too.
  await wills.published(id)
}

async function storeWill(
  { state }: ConnectParts,
  connection: MqttConnection,
  will: MqttConnection['will'],
): Promise<void> {
  await state.delWill(connection)
  if (will !== undefined) await state.putWill(connection, will)
}

/** CONNACK has gone out: the client is online; its stored queue is sent, and its inbox. */
async function begin(parts: ConnectParts, connection: MqttConnection): Promise<void> {
  const { transport, userId, permissions, delivery } = connection
  if (connection.hasLeft) return
  transport.watchSilence()
  if (userId !== undefined) {
    // False: the rights were revoked while CONNECT was under way.
    if (permissions?.joined()) connection.goLive(userId)
    else connection.end('ERROR_CONNECTION_CLOSED')
  }
  if (connection.hasLeft) return
  if (!connection.clean) await delivery.sendQueue(parts.state.outgoingStream(connection))
  if (!connection.hasLeft) openInbox(parts, connection)
}

/** CONNECT is refused. */
class Refusal extends Error {
  /** @param returnCode 3: server unavailable, 4: bad user name or password, 5: not authorized */
  constructor(readonly returnCode: 3 | 4 | 5) {
    super('connection refused')
  }
}

/** A store that fails is no fault of the handler. */
const isExpected = (thrown: unknown): boolean => thrown instanceof Refusal || thrown instanceof GatewayError

const returnCodeOf = (thrown: unknown): number => (thrown instanceof Refusal ? thrown.returnCode : 3)
