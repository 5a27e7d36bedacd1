import { setImmediate as nextTurn } from 'node:timers/promises'
import { GatewayError, nameStoreFault } from '../core/errors.js'
import { encodeMessage, type FileRef } from '../core/message.js'
import {
  admit,
  isUserId,
  type NewMessage,
  type Permissions,
  pairConversation,
  type UserId,
} from '../core/model.js'
import type { MessageTrace } from '../core/tracing.js'
import type { StoreWaiter } from '../inbox/inbox.js'
import type { RequestData } from '../protocol/requests.js'
import type { Appended } from '../store/store.js'
import type { Handler, LoggedIn } from './context.js'
import type { HandlerRules, Services } from './services.js'

/** By what a repeat of a message is known; see NewMessage. */
export type RepeatKey = Pick<NewMessage, 'dedupKey' | 'isFirst' | 'isKeyExact'>

export const NO_REPEAT: RepeatKey = { dedupKey: undefined, isFirst: true }

export interface Outgoing {
  readonly sender: UserId
  /** The sender's. Checked here, and again in the turn in which the message is written. */
  readonly permissions: Permissions | undefined
  readonly recipient: UserId
  /** Only with files may it be empty. */
  readonly content: string
  /** The sender's, and whole; of what must be a repeat, ids alone. */
  readonly files?: readonly Pick<FileRef, 'id'>[]
  readonly repeat: RepeatKey
  /** See NewMessage. */
  readonly mustRepeat?: boolean
  /** See MessageHeader. */
  readonly expiresAt: number | undefined
}

/**
 * The one door for messages from one user to another: requests, MQTT PUBLISH and wills. It checks the sender's
 * permissions, and the inbox checks them again when it writes. `waiter.stored` means stored, not read.
 * @returns a promise only where the store must say whether the recipient exists, or how full the inbox is; the caller
 *   then keeps later messages behind it
 * @throws GatewayError ERROR_UNAUTHORIZED, BAD_FIELD, TOO_LARGE, ERROR_FIND_USER, ERROR_FIND_USER_FAILED,
 *   ERROR_USER_NOT_ONLINE, INBOX_FULL
 */
export function sendMessage(
  services: Services,
  message: Outgoing,
  waiter: StoreWaiter,
): void | Promise<void> {
  admit(message.permissions)
  checkContent(message.content, services.rules, message.files !== undefined)
  const { recipient, sender } = message
  if (services.accounts.isKnown(recipient) && !services.retention.isUnsure(recipient, sender))
    return append(services, message, waiter)
  return askAndSend(services, message, waiter)
}

async function askAndSend(services: Services, message: Outgoing, waiter: StoreWaiter): Promise<void> {
  const { recipient, sender } = message
  const exists = await services.accounts.exists(recipient).catch(error => {
    throw nameStoreFault(error, 'ERROR_FIND_USER_FAILED')
  })
  if (!exists) throw new GatewayError('ERROR_FIND_USER')
  if (services.retention.isUnsure(recipient, sender)) await services.retention.ask(recipient, sender)
  append(services, message, waiter)
}

function append(services: Services, message: Outgoing, waiter: StoreWaiter): void {
  const { inbox, retention, ids, live, limits, rules } = services
  const { sender, permissions, recipient, content, files, repeat, mustRepeat = false, expiresAt } = message
  const { dedupKey, isFirst, isKeyExact } = repeat
  if (!rules.offlineDelivery && !live.isOnline(recipient)) throw new GatewayError('ERROR_USER_NOT_ONLINE')
  const isFull = !retention.admits(recipient, sender)
  // A repeat takes no room, so it is answered like the first one even if the inbox is full.
  const mayRepeat = dedupKey !== undefined && !isFirst
  if (isFull && !mayRepeat) {
    limits.count('inbox.maxMessages')
    throw new GatewayError('INBOX_FULL')
  }
  const createdAt = Date.now()
  const text = encodeMessage(sender, recipient, content, createdAt, files)
  inbox.send(
    {
      inbox: recipient,
      id: ids.next(createdAt),
      kind: files === undefined ? 'message' : 'files',
      sender,
      conversation: pairConversation(sender, recipient),
      text,
      dedupKey,
      isFirst,
      isKeyExact,
      mustRepeat: isFull || mustRepeat,
      expiresAt,
    },
    isFull && !mustRepeat ? counted(waiter, limits) : waiter,
    permissions,
  )
}

/** Counts messages that are refused because the inbox is full. */
const counted = (waiter: StoreWaiter, limits: Services['limits']): StoreWaiter => ({
  trace: waiter.trace,
  stored: result => waiter.stored(result),
  failed: error => {
    if (error.kind === 'INBOX_FULL') limits.count('inbox.maxMessages')
    waiter.failed(error)
  },
})

/**
 * Old desktop clients crash on an empty content, and show none beyond a NUL.
 * @throws GatewayError BAD_FIELD, TOO_LARGE
 */
function checkContent(content: string, { maxContentBytes }: HandlerRules, mayBeEmpty = false): void {
  const bad = (reason: string) => new GatewayError('BAD_FIELD', { field: 'content', reason })
  if (content === '' && !mayBeEmpty) throw bad('must not be empty')
  if (content.includes('\u0000')) throw bad('must not contain NUL')
  // A UTF-16 unit is at most three bytes of UTF-8, so that most contents need no count.
  if (content.length * 3 > maxContentBytes && Buffer.byteLength(content) > maxContentBytes) {
    throw new GatewayError('TOO_LARGE', { field: 'content', reason: `longer than ${maxContentBytes} bytes` })
  }
}

/** A message is a repeat where the same sender sent one with the same request `id` and text, over WebSocket or MQTT. */
export const repeatKey = ({ rules }: Services, sender: UserId, id: string | undefined): RepeatKey =>
  id !== undefined && rules.dedup ? { dedupKey: `${sender} ${id}`, isFirst: false } : NO_REPEAT

/**
 * The same of an `Idempotency-Key`, which names one message: with another one it is refused (draft-ietf-httpapi-idempotency-key-header,
 * 2.6). Ids of other front ends, which count from 1 on every connection, do not meet it.
 */
const idempotencyKey = ({ rules }: Services, sender: UserId, id: string | undefined): RepeatKey =>
  id !== undefined && rules.dedup
    ? { dedupKey: `${sender}/${id}`, isFirst: false, isKeyExact: true }
    : NO_REPEAT

export const handleMessage: Handler<RequestData<'message'>, LoggedIn> = (
  services,
  caller,
  { data, id },
  answer,
) => {
  const { userId: sender, permissions } = caller
  const { recipient: name, content = '', files } = data
  refuseIfFarAhead(services, sender)
  const repeat = (caller.front === 'rest' ? idempotencyKey : repeatKey)(services, sender, id)
  const send = (recipient: UserId) => {
    const message = { sender, permissions, recipient, content, repeat, expiresAt: undefined }
    return files === undefined
      ? sendMessage(services, message, answer)
      : sendFiles(services, { ...message, ids: files }, answer)
  }
  const known = isUserId(name) ? name : services.accounts.idOfName(name)
  return known === undefined ? findAndSend(services, name, send) : send(known)
}

/** From here on the recipient may ask for links to these files, also if the message is refused: it does not know their ids. */
async function sendFiles(
  services: Services,
  { ids, ...message }: Outgoing & { readonly ids: readonly string[] },
  waiter: StoreWaiter,
): Promise<void> {
  const { accounts, files, rules } = services
  const { sender, recipient, content, permissions } = message
  if (!rules.files) throw new GatewayError('FORBIDDEN', { field: 'files', reason: 'files are switched off' })
  checkContent(content, rules, true)
  if (!(await accounts.exists(recipient))) throw new GatewayError('ERROR_FIND_USER')
  admit(permissions)
  try {
    const found = await files.refer(sender, ids, recipient)
    await sendMessage(services, { ...message, files: found }, waiter)
  } catch (thrown) {
    // One may have been removed since the message was stored: a repeat is answered like the first.
    const isGone = thrown instanceof GatewayError && thrown.kind === 'NO_FILE'
    if (!isGone || message.repeat.dedupKey === undefined || message.repeat.isFirst) throw thrown
    const asSent = [...new Set(ids)].map(id => ({ id }))
    await sendMessage(services, { ...message, files: asSent, mustRepeat: true }, orRefused(waiter, thrown))
  }
}

/** Of a message that is stored only as a repeat: where it is none, it is refused for what is wrong with it. */
const orRefused = (waiter: StoreWaiter, why: GatewayError): StoreWaiter => ({
  trace: waiter.trace,
  stored: result => waiter.stored(result),
  failed: error => waiter.failed(error.kind === 'INBOX_FULL' ? why : error),
})

/** @param name a user name; the message has the id of whose it is */
async function findAndSend(
  { accounts }: Services,
  name: string,
  send: (recipient: UserId) => void | Promise<void>,
): Promise<void> {
  const recipient = await accounts.findIdOfName(name).catch(error => {
    throw nameStoreFault(error, 'ERROR_FIND_USER_FAILED')
  })
  if (recipient === undefined) throw new GatewayError('ERROR_FIND_USER')
  await send(recipient)
}

/** Who may send broadcasts is a config key. */
export const broadcastAccess = ({ broadcast }: HandlerRules): 'user' | 'admin' | 'nobody' =>
  BROADCAST_ACCESS[broadcast]

const BROADCAST_ACCESS = { users: 'user', admins: 'admin', off: 'nobody' } as const

/** To every other user who is online now and whose inbox has room. It is a row in each inbox, as safe as a message. */
export const handleBroadcast: Handler<RequestData<'broadcast'>, LoggedIn> = async (
  services,
  caller,
  { data, id: requestId },
  answer,
) => {
  const { userId: sender, permissions } = caller
  checkContent(data.content, services.rules)
  refuseIfFarAhead(services, sender)
  if (services.rules.verify !== 'off') await refuseUnverified(services, sender)
  await askAboutInboxes(services, sender)
  // They may have been revoked while the store was asked.
  admit(permissions)
  const createdAt = Date.now()
  const text = encodeMessage(sender, undefined, data.content, createdAt)
  const id = services.ids.next(createdAt)
  const { dedupKey: key, isFirst } = repeatKey(services, sender, requestId)
  const recipients = [...services.live.online()].filter(
    userId => userId !== sender && services.retention.admits(userId, sender),
  )
  if (recipients.length === 0) return answer.ok('BROADCAST_SUCCESS')
  services.limits.broadcast(sender, recipients.length * Buffer.byteLength(text))
  const done = (error: GatewayError | undefined) =>
    error === undefined ? answer.ok('BROADCAST_SUCCESS') : answer.refuse(error)
  const waiter = new BroadcastWaiter(recipients.length, done, answer.trace)
  for (const inbox of recipients) {
    const dedupKey = key === undefined ? undefined : `${key} ${inbox}`
    services.inbox.send(
      {
        inbox,
        id,
        kind: 'broadcast',
        sender,
        conversation: undefined,
        text,
        dedupKey,
        isFirst,
        expiresAt: undefined,
      },
      waiter,
      permissions,
    )
  }
}

/** The account may have been verified since the login. @throws GatewayError EMAIL_UNVERIFIED */
async function refuseUnverified({ accounts }: Services, userId: UserId): Promise<void> {
  const user = await accounts.find(userId)
  if (user?.verifiedAt === undefined) throw new GatewayError('EMAIL_UNVERIFIED')
}

/** Inboxes that the store is asked about at a time. */
const ASKED_AT_ONCE = 50

/** Asks the store how full the inboxes of users are who are online. Each is asked about once, then it is known. */
async function askAboutInboxes({ retention, live }: Services, sender: UserId): Promise<void> {
  const unknown = [...live.online()].filter(userId => !retention.isKnown(userId))
  for (let at = 0; at < unknown.length; at += ASKED_AT_ONCE) {
    const some = unknown.slice(at, at + ASKED_AT_ONCE)
    await Promise.all(some.map(userId => retention.ask(userId, sender)))
    // A store that answers at once would otherwise hold the event loop for all of them.
    await nextTurn()
  }
}

/**
 * For a sender who is too far ahead of the store; an MQTT device is read later instead.
 * @throws GatewayError OVERLOADED
 */
function refuseIfFarAhead({ inbox, limits }: Services, sender: UserId): void {
  if (!inbox.hasTooMuchWaiting(sender)) return
  limits.count('inbox.maxWaitingBytes')
  throw new GatewayError('OVERLOADED')
}

/** Answers when all copies are stored or have failed: with the first failure, if any. */
class BroadcastWaiter implements StoreWaiter {
  #error: GatewayError | undefined
  constructor(
    private left: number,
    private readonly done: (error: GatewayError | undefined) => void,
    readonly trace: MessageTrace | undefined,
  ) {}

  stored(_result: Appended): void {
    if (--this.left === 0) this.done(this.#error)
  }

  failed(error: GatewayError): void {
    this.#error ??= error
    if (--this.left === 0) this.done(this.#error)
  }
}
