/**
 * The codec of the JSON text of a stored message. No other file writes, reads or cuts it.
 *
 * A message is encoded once, when it is sent, with fixed members in this order (a broadcast has no `recipient`):
 * `{"sender":"…","recipient":"…","content":"…","created_at":"…"}`. This text is stored. It is also the frame for a
 * client that asked for no extension; every other form is made by inserting `id` and `seq`.
 *
 * A message with files (message-kinds.ts, `hasFiles`) has a fifth member `files` before `created_at`, and may have an empty
 * `content`. It never leaves as it is stored: its links expire, so they are made when it leaves.
 */
import { MESSAGE_KINDS } from './message-kinds.js'
import { type InboxRow, type MessageHeader, pairConversation, type UserId } from './model.js'
import { formatTime } from './time.js'

/** A file as a message has it. */
export interface FileRef {
  readonly id: string
  readonly name: string
  /** Bytes. */
  readonly size: number
  /** Media type, by its bytes. */
  readonly type: string
}

/** Where one reader gets a file. */
export interface FileUrls {
  readonly url: string
  /** Of an image. */
  readonly thumbnail?: string
}

/** Makes links for one reader. */
export interface Links {
  urlsFor(file: FileRef): FileUrls
}

/**
 * @param recipient undefined for a broadcast
 * @param at ms since the epoch
 */
export function encodeMessage(
  sender: UserId,
  recipient: UserId | undefined,
  content: string,
  at: number,
  files?: readonly Pick<FileRef, 'id'>[],
): string {
  const to = recipient === undefined ? '' : `"recipient":"${recipient}",`
  const more = files === undefined ? '' : `"files":${JSON.stringify(files)},`
  return `{"sender":"${sender}",${to}"content":${JSON.stringify(content)},${more}"created_at":"${formatTime(at)}"}`
}

/** The frame for a JSON client that asked for no extension: the fixed members only. */
export const encodeFrame = (row: InboxRow, links: Links): string =>
  MESSAGE_KINDS[row.kind].hasFiles ? withLinks(row.text, links).fixed : row.text

/**
 * The frame for a JSON client that asked for any extension: `id` and `seq` follow the fixed members. If the message has files,
 * so do `text`, what the sender wrote, and `files`.
 */
export function encodeExtendedFrame(row: InboxRow, links: Links): string {
  const { id, seq } = row
  const { fixed, more } = partsOf(row, links)
  return `${fixed.slice(0, -1)},"id":"${id}","seq":${seq}${more}}`
}

/** The payload of `users/<me>/inbox/<seq>`: `id` and `seq` precede the fixed members; `text` and `files` follow them. */
export function encodeMqttMessage(row: InboxRow, links: Links): string {
  const { id, seq } = row
  const { fixed, more } = partsOf(row, links)
  return `{"id":"${id}","seq":${seq},${fixed.slice(1, -1)}${more}}`
}

/** The payload of `users/<me>/inbox/<seq>/content`. */
export const contentOf = (row: InboxRow, links: Links): string => JSON.parse(encodeFrame(row, links)).content

/** What the sender wrote, '' if the message has files alone. */
export const writtenIn = ({ text }: { readonly text: string }): string => JSON.parse(text).content

/**
 * An entry of a `history` reply.
 * @param withSeq false if the row is in another user's inbox, where its seq means nothing to the reader
 */
export function historyEntry(row: InboxRow, withSeq: boolean, links: Links): object {
  const { seq, ...members } = JSON.parse(encodeExtendedFrame(row, links))
  return withSeq ? { ...members, seq } : members
}

/** What leaves of a message: the fixed members as an object, and the members that follow, each behind a comma. */
interface Parts {
  readonly fixed: string
  readonly more: string
}

const partsOf = (row: InboxRow, links: Links): Parts =>
  MESSAGE_KINDS[row.kind].hasFiles ? withLinks(row.text, links) : { fixed: row.text, more: '' }

/** `content` reads for itself, since an old client shows nothing else: a line for each file, behind what the sender wrote. */
function withLinks(stored: string, links: Links): Parts {
  const { files, content: text, created_at, ...names } = JSON.parse(stored) as Stored
  const linked = files.map(file => ({ ...file, ...links.urlsFor(file) }))
  const lines = linked.map(({ name, size, url }) => `[${name}, ${inUnits(size)}] ${url}`)
  const content = (text === '' ? lines : [text, ...lines]).join('\n')
  return {
    fixed: JSON.stringify({ ...names, content, created_at }),
    more: `,"text":${JSON.stringify(text)},"files":${JSON.stringify(linked)}`,
  }
}

interface Stored {
  readonly sender: UserId
  readonly recipient: UserId
  readonly content: string
  readonly files: readonly FileRef[]
  readonly created_at: string
}

/** For people: `640 B`, `12 KB`, `3.4 MB`. */
function inUnits(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`
  if (bytes < 999_500) return `${Math.round(bytes / 1000)} KB`
  return `${(bytes / 1_000_000).toFixed(1)} MB`
}

/** Length of `,"created_at":"2019-07-15T09:28:10Z"}`, which ends every text. */
const CREATED_AT_LENGTH = 37

/** When it was sent, as the text has it: `2019-07-15T09:28:10Z`. */
export const createdAt = ({ text }: { readonly text: string }): string => text.slice(-22, -2)

/** Whether two texts are equal apart from `created_at`. Of files the ids count: what else is said of them follows from these. */
export const saysTheSame = (a: { readonly text: string }, b: { readonly text: string }): boolean =>
  a.text.slice(0, -CREATED_AT_LENGTH) === b.text.slice(0, -CREATED_AT_LENGTH) ||
  (FILES.test(a.text) && FILES.test(b.text) && byIds(a.text) === byIds(b.text))

/** In no string of JSON text, where quotation marks have a backslash. */
const FILES = /,"files":\[/

function byIds(text: string): string {
  const { sender, recipient, content, files } = JSON.parse(text) as Stored
  return JSON.stringify([sender, recipient, content, files.map(({ id }) => id)])
}

/** The header of a row of data format 1, which stored no header: it is derived from the text. */
export function headerOf(text: string): MessageHeader {
  const { sender, recipient } = JSON.parse(text) as { sender: UserId; recipient?: UserId }
  const isBroadcast = recipient === undefined
  const conversation = isBroadcast ? undefined : pairConversation(sender, recipient)
  return { kind: isBroadcast ? 'broadcast' : 'message', sender, conversation, expiresAt: undefined }
}
