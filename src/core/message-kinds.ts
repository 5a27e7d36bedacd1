/** The kinds of stored messages. A new kind is a row here; the rest of the code asks for the columns and for no name. */

interface Kind {
  /** The stored form. A letter is never used again for another kind. Not a digit: data format 1 had one in its place. */
  readonly letter: string
  /**
   * The text is stored once for all inboxes that the message goes to, and their rows refer to it. Otherwise each row has
   * the text.
   */
  readonly isShared: boolean
  /**
   * `pair`: that of its sender and the inbox's owner, unless its row names another one; its messages are in the history of
   * both. `none`: the message is in no conversation and no history.
   */
  readonly conversation: 'pair' | 'none'
  /** It goes to many inboxes at once, so it waits behind the messages that others send (inbox/backlog.ts). */
  readonly isBulk: boolean
  /** Its text names files, of which a reader gets links when it is delivered (message.ts). */
  readonly hasFiles: boolean
}

export const MESSAGE_KINDS = {
  /** From one user into a conversation. */
  message: { letter: 'm', isShared: false, conversation: 'pair', isBulk: false, hasFiles: false },
  /** From one user to every user who is online. */
  broadcast: { letter: 'b', isShared: true, conversation: 'none', isBulk: true, hasFiles: false },
  /** The same as `message`, with files. */
  files: { letter: 'f', isShared: false, conversation: 'pair', isBulk: false, hasFiles: true },
} as const satisfies Readonly<Record<string, Kind>>

export type MessageKind = keyof typeof MESSAGE_KINDS

const BY_LETTER: Readonly<Record<string, MessageKind>> = Object.fromEntries(
  (Object.keys(MESSAGE_KINDS) as MessageKind[]).map(kind => [MESSAGE_KINDS[kind].letter, kind]),
)

/** The kind of a stored letter; undefined if the letter is unknown. */
export const kindOf = (letter: string): MessageKind | undefined => BY_LETTER[letter]
