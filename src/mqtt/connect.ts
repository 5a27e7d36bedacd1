/**
 * CONNECT, from the packet to the session: who it is, what the ACL says of its will, the limits, the connection whose client
 * identifier it takes over, the stored session, CONNACK, and what waits for the client. A refusal is an Error with CONNACK's
 * return code (MQTT 3.1.1, table 3.1).
 */
import type { Principal } from '../auth/authenticate.js'
import { scopedId } from './acl/client-id.js'
import type { ConnectParts } from './connect-parts.js'
import type { MqttConnection } from './connection.js'
import { enter, login, readUserName } from './credentials.js'
import { recordLogin } from './record-login.js'
import { isExpected, Refusal, toRefusal } from './refusal.js'
import { begin, checkConnack, keptSeconds, openSession } from './session.js'
import { mayLeave, storedWill } from './wills.js'
import type { ConnectPacket } from './wire/connect-packet.js'
import { REASON } from './wire/reason-codes.js'
import { termsOf } from './wire/terms.js'

/** Resolves when the client is refused, or was sent what waited for it. @throws what is no refusal */
export async function connect(
  parts: ConnectParts,
  connection: MqttConnection,
  packet: ConnectPacket,
): Promise<void> {
  const { name, locale } = readUserName(packet.userName)
  if (locale !== undefined) connection.locale = locale
  const { password, version, will } = packet
  const clientId = packet.clientId || `auto-${crypto.randomUUID()}`
  connection.terms = termsOf(packet)
  connection.transport.limitPackets(connection.terms.encoder.maxPacketBytes)
  connection.link.pacer.answersUnknown = packet.version === 5
  // From before the login, so that a revocation while it is checked counts.
  const since = parts.services.authenticator.since()
  let who: Principal | undefined
  try {
    checkAuthentication(packet)
    who = await login(parts, connection, { clientId, name, password })
    if (will !== undefined && !mayLeave(parts, connection, { clientId, will, who }))
      throw new Refusal(REASON.NOT_AUTHORIZED)
    connection.id = scopedId(who?.user.id, clientId)
    connection.expirySeconds = keptSeconds(packet, parts.options)
    if (who !== undefined) {
      const { user, login } = who
      const grantee = { clientId, role: login.role }
      enter(parts, connection, packet, {
        userId: user.id,
        login,
        grantee,
        permissions: since.permissions(user.id),
      })
    }
    checkConnack(parts, connection, packet)
    const stored = will && storedWill(connection, will, who)
    await parts.connections.inOrder(connection.id, () => openSession(parts, connection, packet, stored))
    recordLogin(parts, connection, { clientId, who, version, reason: REASON.SUCCESS })
  } catch (thrown) {
    const { reason } = toRefusal(thrown)
    recordLogin(parts, connection, { clientId, who, version, reason })
    connection.transport.send(connection.terms.encoder.connack(reason, false))
    connection.transport.destroy()
    if (!isExpected(thrown)) throw thrown
    return
  }
  await begin(parts, connection, packet)
}

/** @throws Refusal of a client that asks for enhanced authentication (MQTT 5, 4.12): there is none */
function checkAuthentication(packet: ConnectPacket): void {
  if (packet.version === 5 && packet.properties.authenticationMethod !== undefined)
    throw new Refusal(REASON.BAD_AUTHENTICATION_METHOD)
}
