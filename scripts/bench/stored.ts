/** Fills the program's store before it starts, with the same rows that the program would write, only faster. */
import { v7 as uuidv7 } from 'uuid'
import { pairConversation } from '../../src/core/model.js'
import { BLANK, writeStamp } from './flow.js'
import type { Program } from './program.js'

export interface StoredMessage {
  readonly sender: string
  readonly recipient: string
  /** Number in the stamp of its content. */
  readonly seq: number
}

/** Rows per commit. */
const BATCH = 5000

/** Appends `count` messages; `message` returns the n-th. */
export async function storeMessages(
  program: Program,
  dir: string,
  count: number,
  message: (n: number) => StoredMessage,
): Promise<void> {
  await program.withStore(dir, async store => {
    for (let n = 0; n < count; n += BATCH) {
      const batch = Array.from({ length: Math.min(BATCH, count - n) }, (_, i) => encode(message(n + i)))
      await store.inbox.append(batch)
    }
  })
}

/** Marks all messages of these users as confirmed by their default devices, so nothing waits for a login. */
export async function confirmAll(program: Program, dir: string, ids: readonly string[]): Promise<void> {
  await program.withStore(dir, async store => {
    for (const userId of ids) {
      const last = await store.inbox.lastSeq(userId)
      await store.cursors.moveCursors([
        { userId, device: '', confirmed: last, sent: last, released: [], seenAt: Date.now() },
      ])
    }
  })
}

function encode({ sender, recipient, seq }: StoredMessage) {
  const content = Buffer.from(BLANK)
  writeStamp(content, 0, seq, 0)
  writeStamp(content, 8, 0, 0)
  const members = { sender, recipient, content: content.toString(), created_at: '2026-01-01T00:00:00Z' }
  return {
    inbox: recipient,
    id: uuidv7(),
    kind: 'message' as const,
    sender,
    conversation: pairConversation(sender, recipient),
    text: JSON.stringify(members),
    expiresAt: undefined,
    dedupKey: undefined,
    isFirst: true,
  }
}
