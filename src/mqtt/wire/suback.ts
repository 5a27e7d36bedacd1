/**
 * SUBACK has one return code for each topic filter, in order [MQTT-3.8.4-5]. Aedes removes duplicate filters before it
 * makes one, so we send the SUBACK of a SUBSCRIBE that has a filter twice.
 */
import type { Packet } from 'mqtt-packet'
import { encodeSuback } from './encode.js'

/** Return code of a filter that is refused (MQTT 3.1.1, 3.9.3). */
export const REFUSED_FILTER = 0x80

/** A SUBSCRIBE with duplicate filters, as it came. */
interface Asked {
  readonly messageId: number
  readonly filters: readonly { readonly topic: string; readonly qos: number }[]
}

interface Granted {
  readonly topic: string
  readonly qos: number
}

/** By the first of the subscriptions that Aedes keeps: Aedes passes on these objects, not the packet. */
const asked = new WeakMap<object, Asked>()

/** Called before Aedes reads the packet. Takes the packet identifier away, without which Aedes sends no SUBACK. */
export function noticeSubscribe(packet: Packet): void {
  if (packet.cmd !== 'subscribe') return
  const { subscriptions, messageId } = packet
  const last = new Map(subscriptions.map(one => [one.topic, one]))
  const [first] = last.values()
  if (last.size === subscriptions.length || first === undefined || messageId === undefined) return
  asked.set(first, { messageId, filters: subscriptions.map(({ topic, qos }) => ({ topic, qos })) })
  Object.assign(packet, { messageId: undefined })
}

/**
 * @param granted the subscriptions that Aedes decided on, with REFUSED_FILTER as the QoS of one that is refused
 * @returns the SUBACK to send, or undefined if Aedes sends it; each filter is answered as if it came in a SUBSCRIBE of
 *   its own [MQTT-3.8.4-4]
 */
export function subackOf(granted: readonly Granted[]): Buffer | undefined {
  const [first] = granted
  const subscribe = first && asked.get(first)
  if (subscribe === undefined) return undefined
  const refused = new Set(granted.filter(({ qos }) => qos === REFUSED_FILTER).map(({ topic }) => topic))
  return encodeSuback(
    subscribe.messageId,
    subscribe.filters.map(({ topic, qos }) => (refused.has(topic) ? REFUSED_FILTER : qos)),
  )
}
