/**
 * SUBACK has one return code a topic filter, in their order [MQTT-3.8.4-5]. Aedes drops all but the last of those that are
 * the same before it counts, so the SUBACK of a SUBSCRIBE that names one twice is ours.
 */
import type { Packet } from 'mqtt-packet'
import mqttPacket from 'mqtt-packet'

/** MQTT 3.1.1, 3.9.3. */
export const REFUSED_FILTER = 0x80

interface Asked {
  readonly messageId: number
  readonly filters: readonly { readonly topic: string; readonly qos: number }[]
}

interface Granted {
  readonly topic: string
  readonly qos: number
}

/** By the first of the subscriptions that Aedes goes on with. */
const asked = new WeakMap<object, Asked>()

/** To be called before Aedes sees the packet: without packet identifier it sends no SUBACK. */
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
 * @param granted what Aedes made of a SUBSCRIBE, with REFUSED_FILTER as the QoS of what was not granted
 * @returns the SUBACK, where it is not Aedes'; each filter answered as if it came in a SUBSCRIBE of its own [MQTT-3.8.4-4]
 */
export function subackOf(granted: readonly Granted[]): Buffer | undefined {
  const [first] = granted
  const subscribe = first && asked.get(first)
  if (subscribe === undefined) return undefined
  const refused = new Set(granted.filter(({ qos }) => qos === REFUSED_FILTER).map(({ topic }) => topic))
  return mqttPacket.generate({
    cmd: 'suback',
    messageId: subscribe.messageId,
    granted: subscribe.filters.map(({ topic, qos }) => (refused.has(topic) ? REFUSED_FILTER : qos)),
  })
}
