/** The session of a connection: found or begun at CONNECT, and what waits in it for the client. */
import { capabilities, keepAliveOf } from './capabilities.js'
import type { ConnectParts } from './connect-parts.js'
import type { MqttConnection } from './connection.js'
import { openInbox } from './open-inbox.js'
import type { BrokerOptions } from './options.js'
import { Refusal } from './refusal.js'
import { NEVER } from './routing/persistence/sessions.js'
import { restoreFilters } from './subscribe.js'
import type { ConnectPacket } from './wire/connect-packet.js'
import { REASON } from './wire/reason-codes.js'

/** Longest time that the server keeps a session, s. */
export const maxExpirySeconds = ({ stateLimits: { sessionExpiryMs } }: BrokerOptions): number =>
  sessionExpiryMs === 0 ? NEVER : Math.floor(sessionExpiryMs / 1000)

/** How long a session of MQTT 5 is kept behind its connection, s; at most as long as the server keeps any. */
export function keptSeconds(packet: ConnectPacket, options: BrokerOptions): number | undefined {
  if (packet.version !== 5) return undefined
  return Math.min(packet.properties.sessionExpiryInterval ?? 0, maxExpirySeconds(options))
}

/** Whether the session outlives its connection. */
export const isKept = (packet: ConnectPacket, { expirySeconds }: MqttConnection): boolean =>
  expirySeconds === undefined ? !packet.clean : expirySeconds > 0

/** Every CONNACK that we make is shorter, bytes. */
const ENOUGH_FOR_CONNACK = 1024

/** @throws Refusal of a client that would not take the CONNACK which accepts it: nothing of its session is changed */
export function checkConnack(parts: ConnectParts, connection: MqttConnection, packet: ConnectPacket): void {
  const { encoder } = connection.terms
  if (encoder.maxPacketBytes >= ENOUGH_FOR_CONNACK) return
  const connack = encoder.connack(REASON.SUCCESS, false, capabilities(parts, connection, packet))
  if (connack.length > encoder.maxPacketBytes) throw new Refusal(REASON.IMPLEMENTATION_SPECIFIC_ERROR)
}

/**
 * Takes over the session, restores what is stored of it and sends CONNACK. All that makes the connection the holder of its
 * session happens in one event-loop turn: a packet that is queued before it is in the stored queue, one after it is live.
 */
export async function openSession(
  parts: ConnectParts,
  connection: MqttConnection,
  packet: ConnectPacket,
  will: MqttConnection['will'],
): Promise<void> {
  const { state, connections } = parts
  await takeOver(parts, connection, packet)
  await resume(parts, connection, packet)
  const filters = await restoreFilters(parts, connection)
  await storeWill(parts, connection, will)
  if (connection.hasLeft) {
    if (will !== undefined) await state.delWill(connection)
    throw new Refusal(REASON.SERVER_UNAVAILABLE)
  }
  connection.will = will
  for (const messageId of state.incomingIds(connection)) connection.unreleased.add(messageId)
  for (const one of filters) connection.delivery.filters.add(one.topic, one)
  connection.filtersSettled()
  connections.hold(connection)
  const { encoder } = connection.terms
  connection.transport.send(
    encoder.connack(REASON.SUCCESS, connection.isResumed, capabilities(parts, connection, packet)),
  )
  connection.isAccepted = true
}

/** Ends the connection that has this client identifier [MQTT-3.1.4-2], and publishes its will. */
async function takeOver(
  { connections, wills }: ConnectParts,
  { id }: MqttConnection,
  { clean }: ConnectPacket,
): Promise<void> {
  const old = connections.holderOf(id)
  old?.endsFor('taken-over')
  // What it has sent before counts, also where it was read faster than handled.
  old?.transport.catchUp()
  old?.dismiss(REASON.SESSION_TAKEN_OVER)
  // Of a connection that ended just before, too. One that is delayed is not published if the session goes on.
  await wills.published(id)
  await wills.back(id, { goesOn: !clean })
}

/** Finds or begins the session. A session of MQTT 5 that is to end with the connection and was stored is stored until then. */
async function resume(
  { state, expiry }: ConnectParts,
  connection: MqttConnection,
  packet: ConnectPacket,
): Promise<void> {
  const { id, expirySeconds } = connection
  const isThere = expiry.opened(id)
  const isToKeep = isKept(packet, connection)
  const terms = expirySeconds === undefined ? {} : { expiry: expirySeconds, isOpen: true }
  const start = { cleanStart: packet.clean || !isThere, isKept: isToKeep, terms }
  connection.isResumed = await state.sessions.begin(id, start)
  connection.clean = !isToKeep && !connection.isResumed
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
export async function begin(
  parts: ConnectParts,
  connection: MqttConnection,
  packet: ConnectPacket,
): Promise<void> {
  const { transport, userId, permissions, delivery } = connection
  if (connection.hasLeft) return
  transport.watchSilence(keepAliveOf(packet, parts.options))
  if (userId !== undefined) {
    // False: the rights were revoked while CONNECT was under way.
    if (permissions?.joined()) connection.goLive(userId)
    else connection.end('ERROR_CONNECTION_CLOSED')
  }
  if (connection.hasLeft) return
  if (!connection.clean) await delivery.sendQueue(parts.state.outgoingStream(connection))
  if (!connection.hasLeft) openInbox(parts, connection)
}
