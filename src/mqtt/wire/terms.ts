/** What CONNECT and CONNACK agreed on how packets go between client and server. */
import type { ConnectPacket, Version } from './connect-packet.js'
import type { ConnectPacket5 } from './connect-rules5.js'
import { decodePublish, type PublishPacket } from './decode.js'
import { decodePublish5 } from './decode5.js'
import { ANY_PACKET } from './encode5.js'
import { ENCODER4, type Encoder, Encoder5 } from './encoder.js'
import { MalformedPacket } from './packet-rules.js'
import { REASON } from './reason-codes.js'

export interface Terms {
  readonly version: Version
  readonly encoder: Encoder
  /** undefined: as many packets may be under way as there are identifiers. */
  readonly inFlight: InFlight | undefined
  /** Of packets to the client; undefined: it takes none. */
  readonly aliases: OutgoingAliases | undefined
  /** @throws MalformedPacket for a topic alias that names nothing */
  decodePublish(first: number, bytes: Buffer, at: number, end: number): PublishPacket
}

export const TERMS3: Terms = {
  version: 3,
  encoder: ENCODER4,
  inFlight: undefined,
  aliases: undefined,
  decodePublish,
}
export const TERMS4: Terms = { ...TERMS3, version: 4 }

/** Receive maximum of a client that names none: as many as there are packet identifiers. */
const ALL = 65_535

export const termsOf = (packet: ConnectPacket): Terms => {
  if (packet.version === 5) return terms5(packet)
  return packet.version === 4 ? TERMS4 : TERMS3
}

function terms5({ properties }: ConnectPacket5): Terms {
  const { receiveMaximum = ALL, topicAliasMaximum = 0, requestProblemInformation = 1 } = properties
  const maxPacketBytes = properties.maximumPacketSize ?? Number.POSITIVE_INFINITY
  const receiver = { maxPacketBytes, wantsProblems: requestProblemInformation === 1 }
  return {
    version: 5,
    encoder: new Encoder5(receiver, topicAliasMaximum),
    inFlight: new InFlight(receiveMaximum),
    aliases: topicAliasMaximum > 0 ? new OutgoingAliases(topicAliasMaximum) : undefined,
    decodePublish: publishReader(),
  }
}

/** Reads the PUBLISH packets of one connection: what a topic alias stands for is known from those before. */
function publishReader(): Terms['decodePublish'] {
  let topics: Map<number, string> | undefined
  return (first, bytes, at, end) => {
    const packet = decodePublish5(first, bytes, at, end)
    const alias = packet.properties?.topicAlias
    if (alias === undefined) return packet
    topics ??= new Map()
    if (packet.topic !== '') topics.set(alias, packet.topic)
    const topic = topics.get(alias)
    if (topic === undefined)
      throw new MalformedPacket('topic alias that names nothing', '[MQTT-3.3.2-7]', REASON.PROTOCOL_ERROR)
    return { ...packet, topic }
  }
}

/** Of a client whose CONNECT could not be read. */
export const ANY_TERMS5: Pick<Terms, 'encoder'> = { encoder: new Encoder5(ANY_PACKET, 0) }

/** Identifiers of the QoS 1 and 2 packets that the client has not acknowledged, within its receive maximum. */
export class InFlight {
  readonly #ids = new Set<number>()

  constructor(private readonly max: number) {}

  get isFull(): boolean {
    return this.#ids.size >= this.max
  }

  add(packetId: number): void {
    this.#ids.add(packetId)
  }

  has(packetId: number): boolean {
    return this.#ids.has(packetId)
  }

  /** @returns whether it was under way */
  delete(packetId: number): boolean {
    return this.#ids.delete(packetId)
  }
}

/** Topic aliases of one client: the topics that come first get them, and keep them. */
export class OutgoingAliases {
  readonly #topics = new Map<string, number>()

  constructor(private readonly max: number) {}

  /** @returns undefined if the topic has none, and may get none */
  of(topic: string): { readonly alias: number; readonly isKnown: boolean } | undefined {
    const known = this.#topics.get(topic)
    if (known !== undefined) return { alias: known, isKnown: true }
    return this.#topics.size < this.max ? { alias: this.#topics.size + 1, isKnown: false } : undefined
  }

  /** The client has been told. */
  told(topic: string, alias: number): void {
    this.#topics.set(topic, alias)
  }
}
