/**
 * CONNECT, from the packet to the session: who it is, what the ACL says of its will, the limits, the stored session, and
 * the connection whose client identifier it takes over. A refusal is an Error with CONNACK's `returnCode` (MQTT 3.1.1,
 * table 3.1), which Aedes sends.
 */
import { isPassword, type Principal } from '../auth/authenticate.js'
import type { LoginOutcome } from '../auth/login-log.js'
import { type Locale, toGatewayError } from '../core/errors.js'
import { LENGTHS, type UserId } from '../core/model.js'
import { scopedId } from './acl/client-id.js'
import type { AuthenticateError } from './aedes/types.js'
import type { Identity, MqttConnection } from './connection.js'
import type { Connections } from './connections.js'
import { FastLane } from './fast-lane.js'
import type { BrokerParts } from './parts.js'
import { openInbox } from './subscribe.js'
import { mayLeaveWill, type Wills } from './wills.js'

/** What a connection is admitted with; see makeParts. */
export interface ConnectParts extends BrokerParts {
  readonly connections: Connections
  readonly wills: Wills
}

/** What CONNECT says of who it is from. */
interface Credentials {
  /** Email or user id. */
  readonly name: string | undefined
  /** A password, a token, or the credential of this client identifier. */
  readonly password: Buffer | undefined
}

/**
 * Resolves when the client is let in; Aedes then restores the subscriptions, stores the will and sends CONNACK.
 * @throws an Error with CONNACK's `returnCode`
 */
export async function connect(
  parts: ConnectParts,
  connection: MqttConnection,
  userName: string | undefined,
  password: Buffer | undefined,
): Promise<void> {
  const { name, locale } = readUserName(userName)
  if (locale !== undefined) connection.locale = locale
  const clientId = connection.client.id
  // From before the login, so that a revocation while it is checked counts.
  const since = parts.services.authenticator.since()
  let who: Principal | undefined
  try {
    who = await login(parts, connection, { name, password })
    checkWill(parts, connection, who)
    connection.client.id = scopedId(who?.user.id, clientId)
    if (who !== undefined) {
      const { user, login } = who
      const grantee = { clientId, role: login.role }
      enter(parts, connection, { userId: user.id, login, grantee, permissions: since.permissions(user.id) })
    }
    await resumeSession(parts, connection)
    await takeOver(parts, connection)
    recordLogin(parts, connection, { clientId, who, returnCode: 0 })
  } catch (thrown) {
    const { returnCode = 3 } = thrown as Partial<AuthenticateError>
    recordLogin(parts, connection, { clientId, who, returnCode })
    throw thrown
  }
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
  { name, password }: Credentials,
): Promise<Principal | undefined> {
  if (name === undefined && options.anonymous) return undefined
  if (name === undefined || password === undefined) throw rejectResponse(5)
  const { accounts, authenticator, limits } = services
  // MQTT allows 65,535 bytes each. UTF-8 has at least as many bytes as the text has UTF-16 units.
  if (name.length > LENGTHS.email || password.length > LENGTHS.token) throw rejectResponse(4)
  const secret = password.toString()
  if (secret.length > LENGTHS.password && isPassword(secret)) throw rejectResponse(4)
  const check = () => authenticator.byMqtt(name, secret, connection.client.id)
  try {
    // Nobody guesses a token or a credential: a device that sends an old one must not delay its owner's password.
    if (!isPassword(secret)) return await check()
    const isWanted = () => !connection.isGone
    return await limits.logins.attempt(connection.remoteAddress, await accounts.keyOf(name), check, isWanted)
  } catch (thrown) {
    throw rejectResponse(toGatewayError(thrown).kind === 'ERROR_AUTH' ? 4 : 3)
  }
}

/** Refuses a will that the client might not publish; notes in one that is allowed by which stored login it was left. */
function checkWill(
  parts: BrokerParts,
  { client, remoteAddress }: MqttConnection,
  who: Principal | undefined,
): void {
  const { _will: will, id: clientId } = client
  if (!will) return
  const userId = who?.user.id
  if (
    !mayLeaveWill(
      parts,
      will,
      who === undefined ? {} : { userId, grantee: { clientId, role: who.login.role } },
    )
  ) {
    const refused = { event: 'will.refused', userId, device: clientId, remoteAddress }
    parts.services.log.info(refused, 'CONNECT refused: may not publish to the topic of its will')
    throw rejectResponse(5)
  }
  const isStored = who?.login.kind === 'token' || who?.login.kind === 'device'
  if (isStored) Object.assign(will, { session: who.login.id })
}

/** Counts the connection for its account, within `mqtt.maxSessions` and `limits.connectionsPerAccount`. */
function enter(parts: ConnectParts, connection: MqttConnection, who: Identity): void {
  const { services, state, options, connections } = parts
  const { client, link, remoteAddress } = connection
  if (connection.hasLeft) throw rejectResponse(3)
  const isNewSession = !client.clean && !state.sessions.has(client.id)
  if (isNewSession && state.sessions.countLike(client.id) >= options.maxSessions) {
    services.limits.count('mqtt.maxSessions')
    throw rejectResponse(3)
  }
  const { userId, grantee } = who
  try {
    const rate = services.limits.enter(userId, connections.holderOf(client.id) !== undefined)
    link.pacer.enter(rate, services.limits.traffic(userId).sent)
  } catch {
    throw rejectResponse(3)
  }
  connection.identify(who)
  link.guest.entered()
  services.limits.logins.loggedInFrom(remoteAddress)
  connections.grant(connection, grantee)
}

/** Finds or begins the stored session; CONNACK says which (session present). */
async function resumeSession({ state }: BrokerParts, connection: MqttConnection): Promise<void> {
  const { client, link } = connection
  try {
    connection.isResumed = await state.resume(client)
  } catch {
    throw rejectResponse(3)
  }
  link.pacer.expect(state.outgoing.countReleased(client.id))
}

/** Ends the connection that has this client identifier [MQTT-3.1.4-2], before the new one's will is stored for it. */
async function takeOver(
  { aedes, connections, wills }: ConnectParts,
  { client }: MqttConnection,
): Promise<void> {
  const old = aedes.clients[client.id]
  if (old === undefined) return
  connections.of(old).endsFor('taken-over')
  await new Promise<void>(resolve => old.close(resolve))
  // It may have been closing before; its will is published in the next turn.
  await new Promise(setImmediate)
  await wills.published(old)
}

/** CONNACK has gone out, and the stored queue after it: live packets, the fast lane and the inbox begin. */
export function ready(parts: ConnectParts, connection: MqttConnection): void {
  const { client, transport, link, userId, permissions } = connection
  if (client.closed) return
  parts.connections.hold(connection)
  // In place of Aedes' own timer, which would run on while the client is not read.
  transport.watchSilence(() => {
    parts.aedes.emit('keepaliveTimeout', client)
    client.emit('error', new Error('keep alive timeout'))
  })
  if (!connection.hasLeft && userId !== undefined) {
    // False: the rights were revoked while CONNECT was under way.
    if (permissions?.joined()) goLive(parts, connection, userId)
    else connection.end('ERROR_CONNECTION_CLOSED')
  }
  link.delivery.ready()
}

function goLive(parts: ConnectParts, connection: MqttConnection, userId: UserId): void {
  const { client, transport } = connection
  connection.goLive(userId)
  transport.openLane(new FastLane(client, transport, connection))
  openInbox(parts, connection)
}

/** 3: server unavailable, 4: bad user name or password, 5: not authorized. */
function rejectResponse(returnCode: 3 | 4 | 5): AuthenticateError {
  return Object.assign(new Error('connection refused'), { returnCode }) as AuthenticateError
}

/** By CONNACK's return code. */
const OUTCOMES: Readonly<Record<number, LoginOutcome>> = { 3: 'unavailable', 4: 'wrong-credentials' }

interface ConnectOutcome {
  readonly clientId: string
  readonly who: Principal | undefined
  /** 0: let in. */
  readonly returnCode: number
}

/** Tells the log, the metrics and the audit file. */
function recordLogin(
  { services: { audit, loginLog } }: BrokerParts,
  { remoteAddress }: MqttConnection,
  { clientId, who, returnCode }: ConnectOutcome,
): void {
  const about = { userId: who?.user.id, front: 'mqtt', remoteAddress, kind: who?.login.kind }
  const facts = { front: 'mqtt', userId: who?.user.id, device: clientId, remoteAddress } as const
  if (returnCode === 0) loginLog.accepted(facts)
  else loginLog.refused(facts, OUTCOMES[returnCode] ?? 'not-allowed', returnCode)
  const session = { session: who?.login.id, device: clientId }
  if (returnCode !== 0) audit.record({ event: 'login.failed', ...about, code: returnCode })
  else if (who !== undefined) audit.record({ event: 'login.succeeded', ...about, ...session })
}
