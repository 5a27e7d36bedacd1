/** Connections, delivery and what clients may ask. See schema.ts. */
import { bytes, choice, count, duration, flag, TIMER } from '../formats.js'

export const DELIVERY = {
  sessions: {
    multiple: choice(
      'reject',
      ['reject', 'replace', 'allow'],
      'A second JSON login of an account: answered 10005, or the first connection is told 10009 and closed, or both live on.',
    ),
  },
  heartbeat: {
    interval: duration(
      '30s',
      { min: '10ms', ...TIMER },
      'A JSON connection that was silent for so long is pinged.',
    ),
    timeout: duration(
      '10s',
      { min: '10ms', ...TIMER },
      'A ping without a pong for so long: the connection is dead, its account free to log in again.',
    ),
  },
  delivery: {
    offline: flag(
      true,
      'Keep messages for those who are away. Without, such a message is answered 10008 and not kept.',
    ),
    windowMessages: count(
      1000,
      { min: 1 },
      'Messages on the way to one JSON session without confirmation; the next waits in the store.',
    ),
    windowBytes: bytes(
      '1MiB',
      { min: 1 },
      'The same by size, for JSON and MQTT, counted in UTF-16 units (a Chinese character is one, and three bytes on the wire); one message is always let through.',
    ),
    stallTimeout: duration(
      '60s',
      { min: '10ms', ...TIMER },
      'A session, JSON or MQTT, whose socket takes nothing for so long while something waits for it, or that owes a pong for so long, is closed (JSON: 4008). An ack action, PUBACK or PUBCOMP may come as late as it likes.',
    ),
    maxBufferedBytes: bytes(
      '1MiB',
      { min: '1KiB' },
      'Bytes that wait in one socket; above it the session is sent nothing until it has read.',
    ),
  },
  dedup: {
    window: duration(
      '10m',
      {},
      'How long a repeat (same sender, request id, recipient and content; over MQTT a DUP with the same packet id) is answered and not stored again. 0: never a repeat.',
    ),
  },
  query: {
    anonymous: choice(
      'lookup',
      ['lookup', 'none', 'all'],
      'What a query may ask before login: only what names an email, nothing, everything.',
    ),
    limit: count(1000, { min: 1, max: 10_000 }, 'Users in one reply; `after` asks for the next page.'),
  },
} as const
