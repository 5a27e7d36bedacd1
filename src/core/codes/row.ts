/** One code of the wire: its number, its texts, and what a client and the log make of it. */
export interface CodeRow {
  /** The number on the wire. A retired number stays listed, so that nobody gives it another meaning. */
  readonly code: number
  readonly 'zh-TW': string
  readonly en: string
  /** Whether the same request may succeed later, unchanged. */
  readonly retry: boolean
  /** WebSocket close code, where the code ends the connection. 4000–4499: come back; 4500–4999: do not. */
  readonly close?: number
  /** The level at which a refusal with it is logged. */
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  /** When it is sent, for docs/protocol.md. */
  readonly when: string
  /** The server does not send it, or never did. */
  readonly retired?: true
}

export const table = <K extends string>(rows: Record<K, CodeRow>): Readonly<Record<K, CodeRow>> =>
  Object.freeze(rows)
