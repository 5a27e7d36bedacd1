/**
 * PUBLISH, from the packet to its acknowledgement: a message to an inbox, a request, or a packet for other topics. All
 * that an acknowledgement promises happens here, before it is sent.
 */
import { CODES, GatewayError, toGatewayError } from '../core/errors.js'
import type { Permissions, UserId } from '../core/model.js'
import { AnswersInOrder } from '../flow/in-order.js'
import { Steps } from '../flow/steps.js'
import { NO_REPEAT, type RepeatKey, repeatKey, sendMessage } from '../handle/message.js'
import { Acknowledgements, type Receipt } from './acknowledgements.js'
import type { Grantee, MessageRight } from './acl/access.js'
import type { BrokerParts } from './parts.js'
import { contentOf, expiresAt, payloadFault, traceParentOf } from './payload.js'
import { type Asker, answer } from './replies.js'
import { Requests } from './requests.js'
import type { PublishPacket } from './wire/decode.js'

/** In whose name a packet is published. All undefined for an anonymous client. */
export interface Author {
  readonly userId?: UserId | undefined
  readonly grantee?: Grantee
  readonly permissions?: Permissions | undefined
}

/** Per-client FIFO order of stores, requests and acknowledgements. */
export class Publisher {
  readonly #acknowledgements = new Acknowledgements()
  readonly #requests: Requests | undefined
  /** Later packets wait while the store is asked about an earlier one. */
  readonly #steps = new Steps()
  /** Packets for other topics are routed and acknowledged in the order in which they came. */
  readonly #stores = new AnswersInOrder()
  /** A refusal at QoS 0 was told in this event-loop turn; further ones in the turn are counted only. */
  #hasTold = false

  /** @param asker undefined for a will whose client is gone */
  constructor(
    private readonly parts: BrokerParts,
    private readonly author: Author,
    private readonly asker?: Asker,
  ) {
    this.#requests = asker && new Requests(parts, asker)
  }

  /** @param receipt is settled once: with an error the client sends the packet again on its next connection */
  publish(packet: PublishPacket, receipt: Receipt): void {
    // A connection that the closing gateway ends did not send DISCONNECT, so that its will is published [MQTT-3.1.2-8].
    if (this.parts.phase.isClosing && packet !== this.asker?.will) {
      receipt.settle(new GatewayError('SHUTDOWN'))
      return
    }
    if (packet.qos > 0) this.#acknowledgements.reserve(receipt)
    if (this.#steps.isBusy) this.#steps.run(() => this.#receive(packet, receipt))
    else this.#steps.follow(this.#receive(packet, receipt))
  }

  /** Until PUBREL the identifier of a QoS 2 packet names one message, whether or not DUP is set [MQTT-4.3.3-2]. */
  #receive(packet: PublishPacket, receipt: Receipt): Promise<void> | undefined {
    const receiver = this.#receiver(packet)
    if (receiver === undefined) return this.#take(packet, receipt)
    return this.parts.topics.isReceived(packet, receiver).then(
      isReceived => (isReceived ? receipt.settle() : this.#take(packet, receipt)),
      thrown => receipt.settle(toGatewayError(thrown)),
    )
  }

  /** For a QoS 2 packet: the client whose session records the identifier until PUBREL. A will has no identifier. */
  #receiver({ qos, messageId }: PublishPacket): Asker | undefined {
    return qos === 2 && messageId !== undefined ? this.asker : undefined
  }

  /** Decides by the topic. Whether the login is still good is decided where the packet is handled, and again at the write. */
  #take(packet: PublishPacket, receipt: Receipt): Promise<void> | undefined {
    const { userId, grantee } = this.author
    const right = this.parts.access.publish(userId, packet.topic, grantee)
    const fault = payloadFault(packet)
    if (right.kind !== 'topic' || fault !== undefined) this.#record(packet, receipt)
    if (fault !== undefined) this.#refuse(packet, fault, receipt)
    else if (right.kind === 'topic') this.#publish(packet, receipt)
    else if (right.kind === 'message') return this.#send(packet, right, receipt)
    else if (right.kind === 'request') this.#ask(packet, receipt)
    else this.#refuse(packet, notYours(), receipt)
    return undefined
  }

  #ask(packet: PublishPacket, receipt: Receipt): void {
    try {
      if (this.#requests === undefined) throw notYours()
      this.#requests.take(packet, () => receipt.settle())
    } catch (thrown) {
      this.#refuse(packet, toGatewayError(thrown), receipt)
    }
  }

  /** QoS 2: the identifier is recorded after all else; until then a resend is recognised by its DUP. */
  #record(packet: PublishPacket, receipt: Receipt): void {
    const receiver = this.#receiver(packet)
    if (receiver === undefined) return
    receipt.recorder = ({ error, reason, why }) => {
      // A PUBREC of MQTT 5 that refuses ends the hand-shake [MQTT-4.3.3-9]; in MQTT 3 it is as any other.
      const isOver = typeof reason === 'string' && receiver.terms.version === 5
      if (isOver) receiver.unreleased.delete(packet.messageId ?? 0)
      if (error || isOver) receipt.leave()
      else
        this.parts.topics.receive(packet, receiver).then(
          () => receipt.settle(null, reason, why),
          thrown => receipt.settle(thrown),
        )
    }
  }

  #send(
    packet: PublishPacket,
    { sender, recipient }: MessageRight,
    receipt: Receipt,
  ): Promise<void> | undefined {
    const { services, options } = this.parts
    const { permissions } = this.author
    receipt.trace = this.#beginTrace(packet)
    try {
      const { content, key } = contentOf(packet, options.payload)
      const repeat = key === undefined ? this.#resendKey(packet) : repeatKey(services, sender, key)
      const message = { sender, permissions, recipient, content, repeat, expiresAt: expiresAt(packet) }
      return sendMessage(services, message, receipt)?.catch(thrown =>
        this.#refuseMessage(packet, thrown, receipt),
      )
    } catch (thrown) {
      this.#refuseMessage(packet, thrown, receipt)
      return undefined
    }
  }

  #beginTrace(packet: PublishPacket) {
    const { tracing } = this.parts.services.inbox
    return tracing?.begin('publish', 'mqtt', performance.now(), () => traceParentOf(packet))
  }

  /**
   * Not acknowledged, so that the client sends it again: a fault of ours that may pass, and a message whose login has
   * ended. Acknowledged and dropped: a message that cannot be sent, also one to an offline user where
   * `delivery.offline` is false.
   */
  #refuseMessage(packet: PublishPacket, thrown: unknown, receipt: Receipt): void {
    const error = toGatewayError(thrown)
    this.parts.metrics.answered('mqtt', 'message', error.number)
    // MQTT 5 can say that the inbox is full, and its client knows that the message is not stored.
    const canBeTold = error.kind === 'INBOX_FULL' && this.asker?.terms.version === 5
    const isLater = CODES[error.kind].retry && error.kind !== 'ERROR_USER_NOT_ONLINE' && !canBeTold
    if (isLater || error.kind === 'ERROR_UNAUTHORIZED') receipt.settle(error)
    else this.#refuse(packet, error, receipt)
  }

  /**
   * A resend has the packet identifier, DUP, content and client of a message before it. [MQTT-4.3.2-2] would let us take
   * any DUP after its PUBACK for a new message; a PUBACK that was lost with its connection is much the commoner case.
   * `dedup.window` 0 switches this off.
   */
  #resendKey({ qos, messageId, dup }: PublishPacket): RepeatKey {
    const client = this.asker
    if (qos === 0 || client === undefined || !this.parts.services.rules.dedup) return NO_REPEAT
    return { dedupKey: `${client.id} ${messageId}`, isFirst: !dup }
  }

  /** Other topics: stored, routed and acknowledged in order; one commit for what comes together. */
  #publish(packet: PublishPacket, receipt: Receipt): void {
    const { topics } = this.parts
    const { userId: owner, permissions } = this.author
    const from = { owner, permissions, publisher: this.asker?.id, receiver: this.#receiver(packet) }
    const trace = this.#beginTrace(packet)
    receipt.trace = trace
    const acceptedAt = trace === undefined ? 0 : performance.now()
    this.#stores
      .keep(topics.store(packet, from))
      .then(stored => {
        trace?.stored({ acceptedAt, storedAt: performance.now(), messages: 1 })
        receipt.settle(null, topics.route(stored, from))
      })
      .catch(thrown => receipt.settle(toGatewayError(thrown, 'STORE_UNAVAILABLE')))
  }

  /**
   * MQTT 3.1.1 has no negative PUBACK: a refused packet is acknowledged and dropped, or the connection closes
   * [MQTT-3.3.5-2]. The reason goes out on the reply topic.
   */
  #refuse(packet: PublishPacket, error: GatewayError, receipt: Receipt): void {
    const { metrics, services, options } = this.parts
    const { userId } = this.author
    metrics.refusedPackets.inc({ reason: error.kind })
    const bytes = packet.payload.length
    services.log.info({ event: 'publish.refused', userId, code: error.kind, bytes }, 'publish refused')
    if (packet.qos > 0 || !this.#hasTold) this.#tell(error)
    if (packet.qos === 0 && !this.#hasTold) {
      this.#hasTold = true
      setImmediate(() => {
        this.#hasTold = false
      })
    }
    if (options.closeOnRefused) receipt.settle(error)
    else receipt.settle(null, error.kind, isPlain(error) ? undefined : error.message)
  }

  #tell({ kind, info }: GatewayError): void {
    if (this.asker !== undefined) answer(this.asker, kind, info)
  }
}

/** The reason code says all of it; some clients read no PUBACK with properties. */
const isPlain = ({ kind }: GatewayError): boolean => kind === 'FORBIDDEN'

const notYours = () => new GatewayError('FORBIDDEN', { field: 'topic', reason: 'not yours to publish to' })
