/** Writes packets for one client, in its version: what the rest of mqtt/ says is the same for all versions. */
import type { CodeName } from '../../core/errors.js'
import {
  encodeAcknowledgement,
  encodeConnack,
  encodePublish,
  encodeRefusal,
  encodeSuback,
  encodeUnsuback,
  REFUSED_FILTER,
} from './encode.js'
import {
  encodeAcknowledgement5,
  encodeConnack5,
  encodeDisconnect5,
  encodeFilterReasons5,
  encodePublish5,
  type Receiver,
} from './encode5.js'
import {
  DISCONNECT,
  PUBACK,
  type PUBCOMP,
  type PUBREC,
  type PUBREL,
  SUBACK,
  UNSUBACK,
} from './packet-types.js'
import { EMPTY_BLOCK, type Forwarding, forwardedBlock } from './property-block.js'
import type { Properties } from './property-table.js'
import { REASON, reasonOf, returnCodeOf } from './reason-codes.js'

type Acknowledgement = typeof PUBACK | typeof PUBREC | typeof PUBREL | typeof PUBCOMP

export interface Encoder {
  /** Longest packet that the client takes, bytes. */
  readonly maxPacketBytes: number
  /** All clients with such an encoder get the same bytes of a PUBLISH at QoS 0. */
  readonly isShared: boolean
  /** Highest topic alias that the client takes. */
  readonly topicAliasMaximum: number
  /** @param block properties as the publisher sent them, or as latin1 text; what MQTT 3 cannot say is left out */
  publish(
    first: number,
    topic: string,
    packetId: number,
    payload: string | Uint8Array,
    block?: Buffer | string,
    forwarding?: Forwarding,
  ): Buffer
  /** @param reason code, or the error whose code it is. @param why told to a client that asks for it */
  acknowledge(first: Acknowledgement, packetId: number, reason?: number | CodeName, why?: string): Buffer
  connack(reason: number, sessionPresent: boolean, properties?: Properties): Buffer
  /** @param reasons one for each filter: the granted QoS, or why it was refused */
  suback(packetId: number, reasons: readonly number[]): Buffer
  unsuback(packetId: number, reasons: readonly number[]): Buffer
  /** @returns undefined in a version that has none from the server */
  disconnect(reason: number | CodeName, properties?: Properties): Buffer | undefined
}

/** Of MQTT 3.1 and 3.1.1. */
export const ENCODER4: Encoder = Object.freeze({
  maxPacketBytes: Number.POSITIVE_INFINITY,
  isShared: true,
  topicAliasMaximum: 0,
  publish: encodePublish,
  acknowledge: encodeAcknowledgement,
  connack: (reason: number, sessionPresent: boolean) =>
    reason === REASON.SUCCESS ? encodeConnack(sessionPresent) : encodeRefusal(returnCodeOf(reason) ?? 3),
  suback: (packetId: number, reasons: readonly number[]) =>
    encodeSuback(
      packetId,
      reasons.map(reason => Math.min(reason, REFUSED_FILTER)),
    ),
  unsuback: (packetId: number) => encodeUnsuback(packetId),
  disconnect: () => undefined,
})

const NOTHING: Forwarding = Object.freeze({})

/** Of MQTT 5. */
export class Encoder5 implements Encoder {
  readonly isShared: boolean

  constructor(
    private readonly receiver: Receiver,
    readonly topicAliasMaximum: number,
  ) {
    this.isShared = topicAliasMaximum === 0 && receiver.maxPacketBytes === Number.POSITIVE_INFINITY
  }

  get maxPacketBytes(): number {
    return this.receiver.maxPacketBytes
  }

  publish(
    first: number,
    topic: string,
    packetId: number,
    payload: string | Uint8Array,
    block: Buffer | string = EMPTY_BLOCK,
    forwarding = NOTHING,
  ): Buffer {
    return encodePublish5(first, topic, packetId, forwardedBlock(block, forwarding), payload)
  }

  acknowledge(first: Acknowledgement, packetId: number, reason?: number | CodeName, why?: string): Buffer {
    if (reason === undefined || reason === REASON.SUCCESS) return encodeAcknowledgement(first, packetId)
    const code = typeof reason === 'string' ? reasonOf(reason, PUBACK) : reason
    return why === undefined
      ? encodeAcknowledgement5(first, packetId, code)
      : encodeAcknowledgement5(first, packetId, code, { reasonString: why }, this.receiver)
  }

  connack(reason: number, sessionPresent: boolean, properties: Properties = {}): Buffer {
    return encodeConnack5(reason, sessionPresent, properties, this.receiver)
  }

  suback(packetId: number, reasons: readonly number[]): Buffer {
    return encodeFilterReasons5(SUBACK, packetId, reasons)
  }

  unsuback(packetId: number, reasons: readonly number[]): Buffer {
    return encodeFilterReasons5(UNSUBACK, packetId, reasons)
  }

  disconnect(reason: number | CodeName, properties: Properties = {}): Buffer {
    const code = typeof reason === 'string' ? reasonOf(reason, DISCONNECT) : reason
    return encodeDisconnect5(code, properties, this.receiver)
  }
}
