/** How much is let in. See schema.ts. */
import { addresses, bytes, count, duration, TIMER } from '../formats.js'

export const LIMITS = {
  limits: {
    content: bytes(
      '64KiB',
      { min: 1, max: '16MiB' },
      'Longest content of a message in bytes of UTF-8; a longer one is answered 10103.',
    ),
    frame: bytes(
      '512KiB',
      { min: '1KiB', max: '128MiB' },
      'Largest WebSocket message of a JSON client; a larger one closes the connection (1009). JSON escapes can make content six times longer.',
    ),
    frameBeforeLogin: bytes(
      '16KiB',
      { min: '1KiB', max: '128MiB' },
      'The same before login, in UTF-16 units; a longer one is not parsed and answered 10103. A login with the longest token fits.',
    ),
    controlFrames: count(
      50,
      { min: 1 },
      'WebSocket pings and unsolicited pongs a second of one connection, in bursts of ten times as many. A connection with more is read more slowly.',
    ),
    requestsBeforeLogin: count(
      50,
      { min: 1 },
      'JSON requests a second before login of all connections of one address, in bursts of ten times as many; more are answered later. An IPv6 /56 may have four times as many, a /48 sixteen times, as with every limit by address.',
    ),
    httpRequests: count(
      50,
      { min: 1 },
      'HTTP requests a second of one address, WebSocket upgrades excluded, in bursts of ten times as many. A further one is answered 429, and its connection is closed.',
    ),
    knownShare: count(
      20,
      { min: 0, max: 90 },
      'Percentage of `connections` and of the bursts of `handshakes` that is reserved for clients that are logged in, and for addresses from which a client has logged in since the start.',
    ),
    strangerGrace: duration(
      '5s',
      { min: '10ms', ...TIMER },
      'If there is no room for a new connection, it replaces the connection that has been open longest without a login, provided that one is at least this old.',
    ),
    depth: count(
      8,
      { min: 2, max: 100 },
      'Most levels of objects and arrays in a request; one with more is answered 10100.',
    ),
    values: count(
      256,
      { min: 64, max: 1_000_000 },
      'Most members and elements of all objects and arrays in a request. One with more is answered 10100 and not parsed: many small members cost much more than one long text.',
    ),
    pipelined: count(
      1000,
      { min: 1 },
      'Most unanswered requests of one connection. Then its socket is not read until some are answered.',
    ),
    refusals: count(100, { min: 1 }, 'Refused requests in a row after which a connection is closed (4500).'),
    connections: count(
      20_000,
      { min: 1 },
      'Most connections, JSON and MQTT together; a further one is refused at once (HTTP 503, CONNACK 0x03).',
    ),
    connectionsPerAddress: count(
      100,
      { min: 1 },
      'Most connections of one address; an IPv6 /64 counts as one. A further one is refused (HTTP 429, CONNACK 0x03; over TLS it is closed without an answer).',
    ),
    connectionsPerAccount: count(
      50,
      { min: 1 },
      'Most connections of one account, JSON and MQTT together; a further one is refused (10123, CONNACK 0x03).',
    ),
    handshakes: count(
      500,
      { min: 1 },
      'New connections a second, in bursts of ten times as many; more are refused.',
    ),
    handshakesPerAddress: count(10, { min: 1 }, 'The same for one address.'),
    handshakeTimeout: duration(
      '10s',
      { min: '10ms', ...TIMER },
      'How long the TLS handshake may take, and then a whole HTTP request. Then the connection is closed. For CONNECT see `mqtt.connectTimeout`.',
    ),
    loginTimeout: duration(
      '5m',
      { min: '10ms', ...TIMER },
      'A JSON connection that has no login and sends no request for this long is closed (10124, 4010).',
    ),
    requests: count(
      200,
      { min: 1 },
      'Requests a second of one connection, in bursts of ten times as many. JSON: more are answered 10120. MQTT has no such answer, so packets are read more slowly. Every packet counts, and every filter of a SUBSCRIBE; acknowledgements of messages sent to the client do not.',
    ),
    requestBytes: bytes(
      '16KiB',
      { min: '1KiB' },
      'A larger MQTT packet counts as one request for each of these many bytes.',
    ),
    accountRequests: count(
      500,
      { min: 1 },
      'The same as `limits.requests` for all connections of one account.',
    ),
    accountBytes: bytes(
      '4MiB',
      { min: '1KiB' },
      'Bytes a second that one account sends over all its connections and from any address, in bursts of ten times as many. JSON: more are answered 10120. MQTT: packets are read more slowly.',
    ),
    broadcastBytes: bytes(
      '8MiB',
      { min: '1KiB' },
      'Bytes a second of broadcasts of one account, counted once for each recipient, in bursts of ten times as many. One broadcast may exceed it; further ones are answered 10120 until the excess is paid off. MQTT: packets that are queued for several kept sessions count once for each, and later ones are read more slowly.',
    ),
    registrations: count(
      60,
      { min: 1 },
      'Registrations an hour from one address, failed ones included; more are answered 10121.',
    ),
    mails: count(
      20,
      { min: 1 },
      'Letters an hour that one address may ask for (forgotten passwords, confirmations, changes of email); more are answered 10141.',
    ),
    mailsPerRecipient: count(
      5,
      { min: 1 },
      'Letters an hour to one email address that somebody asked for. Further ones are not sent, and nobody is told: the answer would say who has an account.',
    ),
    images: count(
      20,
      { min: 1 },
      'Profile images an hour of one account: each costs up to a second of a core, in a process of low priority. A further one is answered 10120.',
    ),
    failedLogins: count(
      5,
      { min: 1 },
      'Wrong passwords from one address for one account until the first delay. Each further one doubles the delay, and a login before its end is answered 10122 (CONNACK 0x03). The account stays accessible from other addresses.',
    ),
    failedLoginsPerAddress: count(
      50,
      { min: 1 },
      'The same for one address and all accounts. Wrong passwords are forgotten an hour after the last one.',
    ),
    loginDelay: duration('1s', { min: '10ms' }, 'The first delay after wrong passwords.'),
    loginDelayMax: duration('15m', { min: '10ms' }, 'The longest delay after wrong passwords.'),
    warnings: count(
      200,
      { min: 1 },
      'Refusals by a limit within a minute after which a JSON connection is closed (10125, 4009).',
    ),
    exempt: addresses(
      '127.0.0.0/8, ::1',
      'Addresses and networks that are exempt from the limits by address, of handshakes and of requests a second. The default is loopback, since a proxy on this machine would make all clients one address: name it in `http.trustProxy`, and the limits apply to its clients.',
    ),
  },
} as const
