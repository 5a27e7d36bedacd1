/** Connections, delivery and what clients may ask. See schema.ts. */
import { bytes, choice, count, duration, flag, TIMER } from '../formats.js'

export const DELIVERY = {
  sessions: {
    multiple: choice(
      'reject',
      ['reject', 'replace', 'allow'],
      'What happens at a second JSON login of an account: it is answered 10005, or the first connection gets 10009 and is closed, or both stay.',
    ),
  },
  heartbeat: {
    interval: duration(
      '30s',
      { min: '10ms', ...TIMER },
      'A JSON connection that sent nothing for this long gets a ping.',
    ),
    timeout: duration(
      '10s',
      { min: '10ms', ...TIMER },
      'How long the pong may take. Then the connection is closed, and the account can log in again.',
    ),
  },
  delivery: {
    offline: flag(
      true,
      'Store messages for users who are offline. If false, such a message is answered 10008 and not stored.',
    ),
    windowMessages: count(
      1000,
      { min: 1 },
      'Most unconfirmed messages sent to one JSON connection; further ones wait in the store.',
    ),
    windowBytes: bytes(
      '1MiB',
      { min: 1 },
      'The same by size, for JSON and MQTT, in UTF-16 units (a Chinese character is one unit, and three bytes on the wire). A single message may be larger.',
    ),
    stallTimeout: duration(
      '60s',
      { min: '10ms', ...TIMER },
      'A connection, JSON or MQTT, is closed (JSON: 4008) if its socket takes nothing for this long while data waits, or if it owes a pong for this long. An ack action, PUBACK or PUBCOMP may take any time.',
    ),
    maxBufferedBytes: bytes(
      '1MiB',
      { min: '1KiB' },
      'Bytes that wait in one socket. Above it, nothing more is sent to the client until it has read.',
    ),
  },
  dedup: {
    window: duration(
      '10m',
      {},
      'How long a repeat (same sender, request id, recipient and content; over MQTT a DUP with the same packet id) is recognised, answered and not stored again. 0: not at all.',
    ),
  },
  query: {
    anonymous: choice(
      'lookup',
      ['lookup', 'none', 'all'],
      'What a query may ask before login: `lookup`: only with an email; `none`: nothing; `all`: everything.',
    ),
    limit: count(1000, { min: 1, max: 10_000 }, 'Most users in one reply; `after` asks for the next page.'),
  },
} as const
