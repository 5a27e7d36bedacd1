/** One code of the wire: its number, its texts, and how clients and the log treat it. */
export interface CodeRow {
  /** The number on the wire. A retired number stays listed so that it is never reused. */
  readonly code: number
  readonly 'zh-TW': string
  readonly en: string
  /** Whether the same request may succeed later. */
  readonly retry: boolean
  /** WebSocket close code, if the code ends the connection. 4000–4499: reconnect; 4500–4999: do not. */
  readonly close?: number
  /** The level at which a refusal with this code is logged. */
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  /** HTTP's status (RFC 9110) of an answer with the code. Who retries by status alone does right. */
  readonly http: number
  /** The reason code of MQTT 5 (2.4) that says it best; a packet that may not carry that one has the next best. */
  readonly mqtt5: number
  /** When the code is sent, for docs/protocol.md. */
  readonly when: string
  /** The server does not send the code (any more). */
  readonly retired?: true
}

export const table = <K extends string>(rows: Record<K, CodeRow>): Readonly<Record<K, CodeRow>> =>
  Object.freeze(rows)
