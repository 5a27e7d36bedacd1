/** The bytes of a routed packet for one client. */
import { publishByte } from '../wire/packet-types.js'
import type { Terms } from '../wire/terms.js'
import { type Outgoing, secondsLeft } from './packet.js'

/** QoS 0 packets: subscribers of one version get the same bytes. By whether RETAIN is set, and by version. */
const shared = new WeakMap<object, (Buffer | undefined)[]>()

/**
 * @param identifiers of the client's subscriptions that match
 * @returns undefined if the packet is larger than the client takes
 */
export function encodeFor(
  terms: Terms,
  outgoing: Outgoing,
  identifiers: readonly number[] | undefined,
): Buffer | undefined {
  const { packet, qos } = outgoing
  const isShared = qos === 0 && identifiers === undefined && packet.expiresAt === undefined
  return isShared && terms.encoder.isShared
    ? sharedBytes(terms, outgoing)
    : ownBytes(terms, outgoing, identifiers)
}

function sharedBytes(terms: Terms, outgoing: Outgoing): Buffer | undefined {
  const { packet, retain } = outgoing
  const kind = (terms.version === 5 ? 2 : 0) + (retain ? 1 : 0)
  const known = shared.get(packet) ?? []
  shared.set(packet, known)
  known[kind] ??= ownBytes(terms, outgoing, undefined)
  return known[kind]
}

function ownBytes(
  { encoder, aliases }: Terms,
  { packet, qos, retain, messageId = 0 }: Outgoing,
  subscriptionIdentifiers: readonly number[] | undefined,
): Buffer | undefined {
  const { topic, payload, dup, block } = packet
  const alias = aliases?.of(topic)
  const forwarding = { expirySeconds: secondsLeft(packet), subscriptionIdentifiers, topicAlias: alias?.alias }
  const named = alias?.isKnown ? '' : topic
  const first = publishByte(qos, dup, retain)
  const bytes = encoder.publish(first, named, messageId, payload, block, forwarding)
  if (bytes.length > encoder.maxPacketBytes) return undefined
  if (alias !== undefined && !alias.isKnown) aliases?.told(topic, alias.alias)
  return bytes
}
