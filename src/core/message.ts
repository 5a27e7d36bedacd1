/**
 * The codec of the JSON text of a stored message. No other file writes, reads or cuts it.
 *
 * A message is encoded once, when it is sent, with fixed members in this order (a broadcast has no `recipient`):
 * `{"sender":"…","recipient":"…","content":"…","created_at":"…"}`. This text is stored. It is also the frame for a
 * client that asked for no extension; every other form is made by inserting `id` and `seq`.
 */
import { type InboxRow, type MessageHeader, pairConversation, type UserId } from './model.js'
import { formatTime } from './time.js'

/**
 * @param recipient undefined for a broadcast
 * @param at ms since the epoch
 */
export function encodeMessage(
  sender: UserId,
  recipient: UserId | undefined,
  content: string,
  at: number,
): string {
  const to = recipient === undefined ? '' : `"recipient":"${recipient}",`
  return `{"sender":"${sender}",${to}"content":${JSON.stringify(content)},"created_at":"${formatTime(at)}"}`
}

/** The frame for a JSON client that asked for no extension: the fixed members only. */
export const encodeFrame = ({ text }: InboxRow): string => text

/** The frame for a JSON client that asked for any extension: `id` and `seq` follow the fixed members. */
export const encodeExtendedFrame = ({ id, seq, text }: InboxRow): string =>
  `${text.slice(0, -1)},"id":"${id}","seq":${seq}}`

/** The payload of `users/<me>/inbox/<seq>`: `id` and `seq` precede the fixed members. */
export const encodeMqttMessage = ({ id, seq, text }: InboxRow): string =>
  `{"id":"${id}","seq":${seq},${text.slice(1)}`

/** The payload of `users/<me>/inbox/<seq>/content`. */
export const contentOf = ({ text }: { readonly text: string }): string => JSON.parse(text).content

/**
 * An entry of a `history` reply.
 * @param withSeq false if the row is in another user's inbox, where its seq means nothing to the reader
 */
export function historyEntry(row: InboxRow, withSeq: boolean): object {
  const { seq, ...members } = JSON.parse(encodeExtendedFrame(row))
  return withSeq ? { ...members, seq } : members
}

/** Length of `,"created_at":"2019-07-15T09:28:10Z"}`, which ends every text. */
const CREATED_AT_LENGTH = 37

/** When it was sent, as the text has it: `2019-07-15T09:28:10Z`. */
export const createdAt = ({ text }: { readonly text: string }): string => text.slice(-22, -2)

/** Whether two texts are equal apart from `created_at`. */
export const saysTheSame = (a: { readonly text: string }, b: { readonly text: string }): boolean =>
  a.text.slice(0, -CREATED_AT_LENGTH) === b.text.slice(0, -CREATED_AT_LENGTH)

/** The header of a row of data format 1, which stored no header: it is derived from the text. */
export function headerOf(text: string): MessageHeader {
  const { sender, recipient } = JSON.parse(text) as { sender: UserId; recipient?: UserId }
  const isBroadcast = recipient === undefined
  const conversation = isBroadcast ? undefined : pairConversation(sender, recipient)
  return { kind: isBroadcast ? 'broadcast' : 'message', sender, conversation, expiresAt: undefined }
}
