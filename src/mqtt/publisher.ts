/** What becomes of a PUBLISH: a message, a request, a packet for other topics, or nothing. */

import { CODES, type CodeName, GatewayError, toGatewayError } from '../core/errors.js'
import type { Metrics } from '../core/metrics.js'
import { admit, type Permissions, type UserId } from '../core/model.js'
import { Acknowledgements } from '../flow/in-order.js'
import type { Caller } from '../handle/context.js'
import { handle } from '../handle/index.js'
import { NO_REPEAT, type RepeatKey, repeatKey, sendMessage } from '../handle/message.js'
import { type Outcome, Replies } from '../handle/replies.js'
import type { StoreWaiter } from '../inbox/inbox.js'
import { decodeText, parseContent } from '../protocol/mqtt-payload.js'
import { encodeReply } from '../protocol/replies.js'
import { parseRequest, RefusedRequest } from '../protocol/requests.js'
import type { Grantee, MessageRight } from './acl/access.js'
import type { AedesClient } from './aedes/client.js'
import type { PublishPacket } from './aedes/types.js'
import type { BrokerHost } from './host.js'
import type { Done } from './wire/socket-output.js'

/** Holds on to nothing of the packet: thousands of messages wait for their commit at a time. */
class MessageWaiter implements StoreWaiter {
  constructor(
    private readonly metrics: Metrics,
    private readonly done: Done,
  ) {}

  stored(): void {
    this.metrics.answered('mqtt', 'message', CODES.MESSAGE_SUCCESS.code)
    this.done()
  }

  failed(error: GatewayError): void {
    this.metrics.answered('mqtt', 'message', error.number)
    // Deleted after it had been looked up: there is nobody to send it to again.
    this.done(error.kind === 'ERROR_FIND_USER' ? null : error)
  }
}

/** In whose name a client publishes; nothing of it for an anonymous one. */
export interface Author {
  readonly userId?: UserId | undefined
  readonly grantee?: Grantee
  readonly permissions?: Permissions | undefined
}

/** The connection that publishes: it may ask, and is told. */
export interface Asker extends Caller {
  readonly client: AedesClient
  /** On its reply topic. */
  tell(reply: string): void
}

/** Either front end's rules of order, for one client: stores, requests and replies each go one behind the other. */
export class Publisher {
  readonly #acknowledgements = new Acknowledgements()
  readonly #replies = new Replies(outcome => this.#reply(outcome))
  /** Acknowledges the requests whose replies are to come, in their order. */
  readonly #owed: Done[] = []
  /** A refusal of a QoS 0 packet was told in this turn: those that come besides are only counted. */
  #isTelling = false
  readonly #steps: (() => Promise<void> | undefined)[] = []
  #isStepping = false
  #requests: Promise<void> = Promise.resolve()
  #stores: Promise<unknown> = Promise.resolve()

  /** @param sender undefined for a will whose client is gone: it may send and publish, not ask */
  constructor(
    private readonly host: BrokerHost,
    private readonly author: Author,
    private readonly sender?: Asker,
  ) {}

  /**
   * Everything that an acknowledgement promises happens here, before Aedes sends it: `done()` = acknowledge,
   * `done(error)` = no acknowledgement, the connection closes and the client sends again.
   */
  publish(packet: PublishPacket, done: Done): void {
    // A will is published while the server closes, too: the connection ended without a DISCONNECT [MQTT-3.1.2-8].
    if (!this.host.isOpen && packet !== this.sender?.client.will) {
      done(new GatewayError('SHUTDOWN'))
      return
    }
    const acknowledge = packet.qos > 0 ? this.#acknowledgements.reserve(done) : done
    if (this.#isStepping) {
      this.#steps.push(() => this.#receive(packet, acknowledge))
      return
    }
    const pending = this.#receive(packet, acknowledge)
    if (pending !== undefined) void this.#runSteps(pending)
  }

  /** What must be asked first holds up what comes behind it. */
  async #runSteps(first: Promise<void>): Promise<void> {
    this.#isStepping = true
    await first
    for (let step = this.#steps.shift(); step !== undefined; step = this.#steps.shift()) await step()
    this.#isStepping = false
  }

  /** Until PUBREL the packet id names one message, whatever DUP says [MQTT-4.3.3-2]. */
  #receive(packet: PublishPacket, acknowledge: Done): Promise<void> | undefined {
    const receiver = this.#receiver(packet)
    if (receiver === undefined) return this.#take(packet, acknowledge)
    return this.host.isReceived(packet, receiver).then(
      isReceived => (isReceived ? acknowledge() : this.#take(packet, acknowledge)),
      thrown => acknowledge(toGatewayError(thrown)),
    )
  }

  /** Of a QoS 2 packet: the client whose session knows its id until PUBREL. A will has none. */
  #receiver({ qos, messageId }: PublishPacket): AedesClient | undefined {
    return qos === 2 && messageId !== undefined ? this.sender?.client : undefined
  }

  #take(packet: PublishPacket, acknowledge: Done): Promise<void> | undefined {
    const { userId, grantee, permissions } = this.author
    try {
      admit(permissions)
    } catch (thrown) {
      acknowledge(toGatewayError(thrown))
      return undefined
    }
    const right = this.host.access.publish(userId, packet.topic, grantee)
    const receiver = this.#receiver(packet)
    const done = receiver === undefined ? acknowledge : this.#recorded(packet, receiver, acknowledge)
    if (right.kind === 'message') return this.#send(packet, right, done)
    if (right.kind === 'topic') this.#publish(packet, acknowledge)
    else if (right.kind === 'request' && this.sender !== undefined) this.#request(packet, this.sender, done)
    else
      this.#refuse(
        packet,
        new GatewayError('FORBIDDEN', { field: 'topic', reason: 'not yours to publish to' }),
        done,
      )
    return undefined
  }

  /** Recorded when all else is done: in between, a resend is known by its DUP. */
  #recorded(packet: PublishPacket, receiver: AedesClient, acknowledge: Done): Done {
    return error => {
      if (error) acknowledge(error)
      else this.host.receive(packet, receiver).then(() => acknowledge(), acknowledge)
    }
  }

  #send(packet: PublishPacket, { sender, recipient }: MessageRight, done: Done): Promise<void> | undefined {
    const { host } = this
    const { permissions } = this.author
    try {
      const { content, id } = parseContent(packet.payload, host.payload)
      const repeat = id === undefined ? this.#resendKey(packet) : repeatKey(host.services, sender, id)
      const { dedupKey, isFirst } = repeat
      const message = { sender, permissions, recipient, content, dedupKey, isFirst }
      const waiter = new MessageWaiter(host.metrics, done)
      return sendMessage(host.services, message, waiter)?.catch(thrown =>
        this.#refuseMessage(packet, thrown, done),
      )
    } catch (thrown) {
      this.#refuseMessage(packet, thrown, done)
      return undefined
    }
  }

  /**
   * A fault of ours that may pass is not acknowledged: the client sends again. Nor is what came from a login that is
   * over. What cannot be sent is dropped, also where nothing is kept for a recipient who is away.
   */
  #refuseMessage(packet: PublishPacket, thrown: unknown, done: Done): void {
    const error = toGatewayError(thrown)
    this.#count('message', error.kind)
    const isLater = CODES[error.kind].retry && error.kind !== 'ERROR_USER_NOT_ONLINE'
    if (isLater || error.kind === 'ERROR_UNAUTHORIZED') done(error)
    else this.#refuse(packet, error, done)
  }

  /**
   * A resend is the same packet id and message with DUP, from the same client. Beyond [MQTT-4.3.2-2], which lets a
   * receiver take any DUP after its PUBACK for a new message: a PUBACK that was lost with its connection is much the
   * commoner case, and `dedup.window` 0 switches this off.
   */
  #resendKey({ qos, messageId, dup }: PublishPacket): RepeatKey {
    const client = this.sender?.client
    if (qos === 0 || client === undefined || !this.host.services.rules.dedup) return NO_REPEAT
    return { dedupKey: `${client.id} ${messageId}`, isFirst: !dup }
  }

  /** Acknowledged behind its reply, so that a client gets no further ahead than its replies. */
  #request(packet: PublishPacket, caller: Caller, done: Done): void {
    const { services } = this.host
    try {
      const request = parseRequest(decodeText(packet.payload), services.rules)
      this.#owed.push(done)
      const answer = this.#replies.reserve(request.name, request.id)
      this.#requests = this.#requests.then(() => handle(services, caller, request, answer))
    } catch (thrown) {
      const id = thrown instanceof RefusedRequest ? thrown.id : undefined
      this.#owed.push(done)
      this.#replies.reserve('invalid', id).refuse(toGatewayError(thrown))
    }
  }

  /** Stored, routed and acknowledged in order, and one commit for what comes together. */
  #publish(packet: PublishPacket, done: Done): void {
    const before = this.#stores
    const { userId: owner, permissions } = this.author
    const mine = this.host.store(packet, { owner, permissions, receiver: this.#receiver(packet) })
    // Without the values: each would hold on to the one before it.
    this.#stores = Promise.allSettled([before, mine]).then(() => undefined)
    Promise.all([mine, before])
      .then(([stored]) => {
        admit(permissions)
        this.host.route(stored)
        done()
      })
      .catch(thrown => done(toGatewayError(thrown, 'STORE_UNAVAILABLE')))
  }

  /** MQTT 3.1.1 has no negative PUBACK: acknowledge and drop, or close [MQTT-3.3.5-2]. The reply topic says why. */
  #refuse(packet: PublishPacket, error: GatewayError, done: Done): void {
    const { host } = this
    const { userId } = this.author
    host.metrics.refusedPackets.inc({ reason: error.kind })
    const bytes = packet.payload.length
    host.services.log.info({ event: 'publish.refused', userId, code: error.kind, bytes }, 'publish refused')
    if (packet.qos > 0 || !this.#isTelling)
      this.sender?.tell(encodeReply(error.kind, this.#locale, error.info))
    if (packet.qos === 0 && !this.#isTelling) {
      this.#isTelling = true
      setImmediate(() => {
        this.#isTelling = false
      })
    }
    done(host.closeOnRefused ? error : null)
  }

  #reply({ request, id, code, data }: Outcome): void {
    this.#count(request, code)
    this.sender?.tell(encodeReply(code, this.#locale, data, id))
    this.#owed.shift()?.()
  }

  get #locale() {
    return this.sender?.locale ?? this.host.locale
  }

  #count(request: string, code: CodeName): void {
    this.host.metrics.answered('mqtt', request, CODES[code].code)
  }
}
