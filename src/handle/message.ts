import { setImmediate as nextTurn } from 'node:timers/promises'
import { GatewayError, nameStoreFault } from '../core/errors.js'
import { admit, type NewMessage, type Permissions, type UserId } from '../core/model.js'
import type { StoreWaiter } from '../inbox/inbox.js'
import { encodeMessage } from '../protocol/replies.js'
import type { RequestData } from '../protocol/requests.js'
import type { Appended } from '../store/store.js'
import type { Caller, Handler, HandlerRules, LoggedIn, Services } from './context.js'

/** How a message that comes again is known: see NewMessage. */
export type RepeatKey = Pick<NewMessage, 'dedupKey' | 'isFirst'>

export const NO_REPEAT: RepeatKey = { dedupKey: undefined, isFirst: true }

export interface Outgoing extends RepeatKey {
  readonly sender: UserId
  /** The sender's; asked for until the message is stored. */
  readonly permissions: Permissions | undefined
  readonly recipient: UserId
  readonly content: string
}

/**
 * One user to one user; both front ends end here. `waiter.stored` means stored, not read.
 * Returns a promise only where the store must be asked whether the recipient exists, or how full the inbox is; then the
 * caller keeps the order.
 * @throws GatewayError ERROR_UNAUTHORIZED, BAD_FIELD, TOO_LARGE, ERROR_FIND_USER, ERROR_FIND_USER_FAILED, ERROR_USER_NOT_ONLINE
 */
export function sendMessage(
  services: Services,
  message: Outgoing,
  waiter: StoreWaiter,
): void | Promise<void> {
  admit(message.permissions)
  checkContent(message.content, services.rules)
  const { recipient, sender } = message
  if (services.accounts.isKnown(recipient) && !services.inbox.isUnsure(recipient, sender))
    return append(services, message, waiter)
  return askAndSend(services, message, waiter)
}

async function askAndSend(services: Services, message: Outgoing, waiter: StoreWaiter): Promise<void> {
  const { recipient, sender } = message
  const exists = await services.accounts.exists(recipient).catch(error => {
    throw nameStoreFault(error, 'ERROR_FIND_USER_FAILED')
  })
  if (!exists) throw new GatewayError('ERROR_FIND_USER')
  if (services.inbox.isUnsure(recipient, sender)) await services.inbox.ask(recipient, sender)
  append(services, message, waiter)
}

function append(services: Services, message: Outgoing, waiter: StoreWaiter): void {
  const { inbox, ids, live, limits, rules } = services
  const { sender, permissions, recipient, content, dedupKey, isFirst } = message
  if (!rules.offlineDelivery && !live.isOnline(recipient)) throw new GatewayError('ERROR_USER_NOT_ONLINE')
  const isFull = !inbox.admits(recipient, sender)
  // Where there is no room a repeat is answered like the first one, since it takes none.
  const mayRepeat = dedupKey !== undefined && !isFirst
  if (isFull && !mayRepeat) {
    limits.count('inbox.maxMessages')
    throw new GatewayError('INBOX_FULL')
  }
  const createdAt = Date.now()
  const text = encodeMessage(sender, recipient, content, createdAt)
  inbox.send(
    {
      inbox: recipient,
      id: ids.next(createdAt),
      sender,
      recipient,
      createdAt,
      text,
      dedupKey,
      isFirst,
      ...(isFull && { mustRepeat: true }),
    },
    isFull ? counted(waiter, limits) : waiter,
    permissions,
  )
}

/** Counts what is refused for want of room. */
const counted = (waiter: StoreWaiter, limits: Services['limits']): StoreWaiter => ({
  stored: result => waiter.stored(result),
  failed: error => {
    if (error.kind === 'INBOX_FULL') limits.count('inbox.maxMessages')
    waiter.failed(error)
  },
})

/** A content that old desktop clients crash on (empty) or cannot show whole (NUL) never enters a log. */
export function checkContent(content: string, { maxContentBytes }: HandlerRules): void {
  const bad = (reason: string) => new GatewayError('BAD_FIELD', { field: 'content', reason })
  if (content === '') throw bad('must not be empty')
  if (content.includes('\u0000')) throw bad('must not contain NUL')
  // A UTF-16 unit is at most three bytes of UTF-8: most contents need no count.
  if (content.length * 3 > maxContentBytes && Buffer.byteLength(content) > maxContentBytes) {
    throw new GatewayError('TOO_LARGE', { field: 'content', reason: `longer than ${maxContentBytes} bytes` })
  }
}

/** A repeat has the request `id` of one before it and says the same, by whichever front end it comes. */
export const repeatKey = ({ rules }: Services, sender: UserId, id: string | undefined): RepeatKey =>
  id !== undefined && rules.dedup ? { dedupKey: `${sender} ${id}`, isFirst: false } : NO_REPEAT

export const handleMessage: Handler<RequestData<'message'>, LoggedIn> = (
  services,
  caller,
  { data, id },
  answer,
) => {
  const { userId: sender, permissions } = caller
  const { recipient, content } = data
  refuseIfFull(services, sender)
  const repeat = repeatKey(services, sender, id)
  return sendMessage(services, { sender, permissions, recipient, content, ...repeat }, answer)
}

/**
 * To every other user who is online now and whose inbox has room: one row in each one's inbox, so that it is as safe as a
 * message.
 */
export const handleBroadcast: Handler<RequestData<'broadcast'>, LoggedIn> = async (
  services,
  caller,
  { data, id: requestId },
  answer,
) => {
  const { userId: sender, permissions } = caller
  checkBroadcast(services, caller)
  checkContent(data.content, services.rules)
  refuseIfFull(services, sender)
  await askAboutInboxes(services, sender)
  admit(permissions)
  const createdAt = Date.now()
  const text = encodeMessage(sender, undefined, data.content, createdAt)
  const id = services.ids.next(createdAt)
  const { dedupKey: key, isFirst } = repeatKey(services, sender, requestId)
  const recipients = [...services.live.online()].filter(
    userId => userId !== sender && services.inbox.admits(userId, sender),
  )
  if (recipients.length === 0) return answer.ok('BROADCAST_SUCCESS')
  services.limits.broadcast(sender, recipients.length * Buffer.byteLength(text))
  const waiter = new BroadcastWaiter(recipients.length, error =>
    error === undefined ? answer.ok('BROADCAST_SUCCESS') : answer.refuse(error),
  )
  for (const inbox of recipients) {
    const dedupKey = key === undefined ? undefined : `${key} ${inbox}`
    services.inbox.send(
      { inbox, id, sender, recipient: undefined, createdAt, text, dedupKey, isFirst },
      waiter,
      permissions,
    )
  }
}

/** How many inboxes are asked about at a time. */
const ASKED_AT_ONCE = 50

/** How full the inboxes are of those who are online: each is asked about once, then it is known. */
async function askAboutInboxes({ inbox, live }: Services, sender: UserId): Promise<void> {
  const unknown = [...live.online()].filter(userId => !inbox.isKnown(userId))
  for (let at = 0; at < unknown.length; at += ASKED_AT_ONCE) {
    const some = unknown.slice(at, at + ASKED_AT_ONCE)
    await Promise.all(some.map(userId => inbox.ask(userId, sender)))
    // A store that answers at once would hold the event loop for all of them.
    await nextTurn()
  }
}

function checkBroadcast({ rules: { broadcast } }: Services, { login }: Caller): void {
  if (broadcast === 'users' || (broadcast === 'admins' && login?.role === 'admin')) return
  const reason = broadcast === 'off' ? 'broadcasts are switched off' : 'broadcasts are for admins'
  throw new GatewayError('FORBIDDEN', { field: 'type', reason })
}

/** A sender who is too far ahead of the store. An MQTT device is read later instead. @throws GatewayError OVERLOADED */
function refuseIfFull({ inbox, limits }: Services, sender: UserId): void {
  if (!inbox.isFullFor(sender)) return
  limits.count('inbox.maxWaitingBytes')
  throw new GatewayError('OVERLOADED')
}

/** Answers once all copies are decided: with the first failure, if any. */
class BroadcastWaiter implements StoreWaiter {
  #error: GatewayError | undefined
  constructor(
    private left: number,
    private readonly done: (error: GatewayError | undefined) => void,
  ) {}

  stored(_result: Appended): void {
    if (--this.left === 0) this.done(this.#error)
  }

  failed(error: GatewayError): void {
    this.#error ??= error
    if (--this.left === 0) this.done(this.#error)
  }
}
