/**
 * The only place that stores messages: it appends to the recipients' logs in groups, answers, and offers rows to readers.
 *
 * Group commit: while one commit is under way everything that arrives waits, and goes into the next as one batch.
 * One batch at a time keeps the log free of holes (a failed batch used no seq) and costs nothing under load: the
 * busier the server, the larger the group, up to what one commit may carry (backlog.ts).
 */
import { GatewayError, toGatewayError } from '../core/errors.js'
import type { Logger } from '../core/log.js'
import type { FrontEnd, Metrics } from '../core/metrics.js'
import {
  admit,
  type ConversationId,
  type InboxRow,
  type NewMessage,
  type Permissions,
  type UserId,
} from '../core/model.js'
import { Several } from '../core/several.js'
import type { MessageTrace, Tracing } from '../core/tracing.js'
import type { ReaderState } from '../core/watched.js'
import { TurnEnd } from '../flow/turn-end.js'
import type { Appended, ConversationRow, InboxLog } from '../store/store.js'
import { Backlog, type BacklogLimits } from './backlog.js'
import type { Cursors } from './cursors.js'
import type { Retention } from './retention.js'

export type { Retention } from './retention.js'

/** Called exactly once when a message is stored or has failed; must not throw. */
export interface StoreWaiter {
  /** Of a message that is traced. */
  readonly trace?: MessageTrace | undefined
  stored(result: Appended): void
  failed(error: GatewayError): void
}

/** A device that is connected now. */
export interface LiveReader {
  readonly userId: UserId
  /** Its name. */
  readonly device: string
  /** See DevicePlace. */
  stateOf(seq: number): 'confirmed' | 'sent' | undefined
  readonly front: FrontEnd
  readonly state: ReaderState
  /** A row that has just become durable; rows of one inbox come in rising order. @returns whether it was written */
  offer(row: InboxRow): boolean
  /** Keeps the device's place. */
  touch(): void
}

interface Waiting {
  readonly message: NewMessage
  readonly waiter: StoreWaiter
  /** Its sender's. */
  readonly permissions: Permissions | undefined
  /** performance.now() when it was accepted. */
  readonly since: number
}

export class Inbox {
  readonly #readers = new Several<UserId, LiveReader>()
  readonly #waiting: Backlog<Waiting>
  /** undefined: messages are not traced. */
  tracing: Tracing | undefined
  #writing = false
  #idle: (() => void)[] = []

  constructor(
    readonly store: InboxLog,
    readonly cursors: Cursors,
    private readonly retention: Retention,
    readonly metrics: Metrics,
    private readonly log: Logger,
    limits: BacklogLimits,
    /** Of all who write what it answers and delivers. */
    readonly turnEnd = new TurnEnd(),
  ) {
    this.#waiting = new Backlog(limits)
  }

  /** Whether this sender has so much waiting to be stored that it should wait with more. */
  hasTooMuchWaiting(sender: UserId): boolean {
    return this.#waiting.hasTooMuchWaiting(sender)
  }

  /**
   * Appends `message` to its inbox. `waiter.stored` is called when it is durable and before it is delivered;
   * `waiter.failed` when nothing was stored: STORE_UNAVAILABLE, STORE_FULL (try again); ERROR_UNAUTHORIZED where the
   * sender's permissions ended meanwhile.
   */
  send(message: NewMessage, waiter: StoreWaiter, permissions: Permissions | undefined): void {
    this.#waiting.push({ message, waiter, permissions, since: performance.now() })
    if (!message.mustRepeat) this.retention.accepted(message)
    if (this.#writing) return
    this.#writing = true
    // End of this event-loop turn: all that one turn's sockets brought shares a commit.
    setImmediate(this.#writeNext)
  }

  /** Resolves when everything accepted so far is answered. */
  async drained(): Promise<void> {
    if (this.#writing) await new Promise<void>(resolve => this.#idle.push(resolve))
  }

  attach(reader: LiveReader): void {
    this.#readers.add(reader.userId, reader)
  }

  detach(reader: LiveReader): void {
    this.#readers.delete(reader.userId, reader)
  }

  /** Devices of this account that are connected. */
  readersOf(userId: UserId): readonly LiveReader[] {
    return this.#readers.of(userId)
  }

  /** Keeps the places of all devices that are connected. */
  touchAll(): void {
    for (const reader of this.readers()) reader.touch()
  }

  /** All that are attached, one after the other; others may come and go meanwhile. */
  *readers(): Generator<LiveReader> {
    for (const userId of this.#readers.keys()) yield* this.#readers.of(userId)
  }

  /** Accounts with a reader. */
  get readerCount(): number {
    return this.#readers.size
  }

  /** Messages that wait to be stored. */
  get waiting(): number {
    return this.#waiting.length
  }

  /** Messages of a conversation, newest first, older than the message with id `before` if given. @throws GatewayError */
  history(conversation: ConversationId, limit: number, before?: string): Promise<ConversationRow[]> {
    return this.store.readConversation(conversation, limit, before)
  }

  /** The batches of a long backlog are written one a turn, so that sockets are read in between. */
  readonly #writeNext = (): void => {
    const writing = this.#write(this.#admitted(this.#waiting.take()))
    if (writing === undefined) this.#goOn()
    else void writing.then(this.#goOn)
  }

  readonly #goOn = (): void => {
    if (this.#waiting.length > 0) {
      setImmediate(this.#writeNext)
      return
    }
    this.#writing = false
    for (const resolve of this.#idle.splice(0)) resolve()
  }

  /** @returns undefined if nothing had to be waited for */
  #write(batch: readonly Waiting[]): Promise<void> | undefined {
    if (batch.length === 0) return undefined
    const messages = batch.map(one => one.message)
    const settle = (results: readonly Appended[]) => this.turnEnd.atOnce(() => this.#settle(batch, results))
    const fail = (thrown: unknown) => this.turnEnd.atOnce(() => this.#fail(batch, thrown))
    let results: readonly Appended[] | undefined
    try {
      results = this.store.appendNow?.(messages)
    } catch (thrown) {
      fail(thrown)
      return undefined
    }
    if (results === undefined) return this.store.append(messages).then(settle, fail)
    settle(results)
    return undefined
  }

  #fail(batch: readonly Waiting[], thrown: unknown): void {
    const error = toGatewayError(thrown, 'STORE_UNAVAILABLE')
    this.log.error(
      { event: 'store.failed', operation: 'append', messages: batch.length, err: error },
      'append failed',
    )
    for (const { message, waiter } of batch) {
      this.#release(message)
      waiter.failed(error)
    }
  }

  #settle(batch: readonly Waiting[], results: readonly Appended[]): void {
    const stored = performance.now()
    const isDebug = this.log.isLevelEnabled('debug')
    /** Of the first, which waited longest: one look at the clock for each commit. */
    let deliveredSince: number | undefined
    let count = 0
    batch.forEach(({ message, waiter, since }, i) => {
      const result = results[i]
      if (result === undefined) return
      const refusal = refusalOf(result)
      if (refusal !== undefined) {
        this.#release(message)
        waiter.failed(refusal)
        return
      }
      if (this.tracing !== undefined)
        waiter.trace?.stored({ acceptedAt: since, storedAt: stored, messages: batch.length, message: result })
      waiter.stored(result)
      if (isDebug) this.log.debug(about(message, result), 'message stored')
      if (result.repeat) {
        this.#release(message)
        return
      }
      count++
      if (this.#deliver(message, result)) deliveredSince ??= since
      this.retention.appended(message, result.seq)
    })
    this.metrics.stored(count, (stored - (batch[0]?.since ?? stored)) / 1000)
    if (deliveredSince !== undefined) this.metrics.sent((performance.now() - deliveredSince) / 1000)
  }

  /** Messages whose sender still has permissions; the others fail. They may have been revoked while the batch before was written. */
  #admitted(batch: readonly Waiting[]): readonly Waiting[] {
    if (!batch.some(({ permissions }) => permissions?.areRevoked)) return batch
    return batch.filter(({ message, permissions, waiter }) => {
      try {
        admit(permissions)
        return true
      } catch (thrown) {
        this.#release(message)
        waiter.failed(toGatewayError(thrown))
        return false
      }
    })
  }

  /** The message takes no room in its inbox any more. */
  #release(message: NewMessage): void {
    if (!message.mustRepeat) this.retention.refused(message)
  }

  /** @returns whether it was written to any device at once */
  #deliver(message: NewMessage, { seq, id }: Appended): boolean {
    const readers = this.#readers.get(message.inbox)
    if (readers === undefined) return false
    const { kind, sender, conversation, text, expiresAt } = message
    const row: InboxRow = { seq, id, kind, sender, conversation, text, expiresAt }
    if (!(readers instanceof Set)) return readers.offer(row)
    let isWritten = false
    for (const reader of readers) isWritten = reader.offer(row) || isWritten
    return isWritten
  }
}

/** Why nothing was stored: its recipient was deleted after it had been looked up; it had to be a repeat; or its key is another's. */
function refusalOf({ isGone, isFull, isOther }: Appended): GatewayError | undefined {
  if (isGone) return new GatewayError('ERROR_FIND_USER')
  if (isOther) return new GatewayError('KEY_REUSED', { reason: 'another message had this key' })
  return isFull ? new GatewayError('INBOX_FULL') : undefined
}

/** Ids and sizes, never content. */
const about = ({ inbox, sender, text }: NewMessage, { seq, id, repeat }: Appended) => ({
  event: 'message.stored',
  messageId: id,
  inbox,
  seq,
  sender,
  repeat,
  characters: text.length,
})
