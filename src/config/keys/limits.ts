/** How much is let in. See schema.ts. */
import { addresses, bytes, count, duration, TIMER } from '../formats.js'

export const LIMITS = {
  limits: {
    content: bytes(
      '64KiB',
      { min: 1, max: '16MiB' },
      'Longest content of a message as UTF-8; a longer one is answered 10103.',
    ),
    frame: bytes(
      '512KiB',
      { min: '1KiB', max: '128MiB' },
      'Longest JSON frame; a longer one closes the connection with 1009. JSON escapes can make content six times longer.',
    ),
    frameBeforeLogin: bytes(
      '16KiB',
      { min: '1KiB', max: '128MiB' },
      'The same before login, counted in UTF-16 units; a longer one is not parsed and answered 10103. A login with the longest token fits.',
    ),
    controlFrames: count(
      50,
      { min: 1 },
      'WebSocket pings and unasked pongs a second of one connection, in bursts of ten times as many; more are read later.',
    ),
    requestsBeforeLogin: count(
      50,
      { min: 1 },
      'JSON requests a second before login of all connections of one address, in bursts of ten times as many; more are answered later. An IPv6 /56 has four times as many, a /48 sixteen times, as with every limit by address.',
    ),
    httpRequests: count(
      50,
      { min: 1 },
      'HTTP requests a second of one address that are no WebSocket, in bursts of ten times as many; the connection of one more is closed (429).',
    ),
    knownShare: count(
      20,
      { min: 0, max: 90 },
      'Percent of `connections` and of the bursts of `handshakes` that is kept for those who are logged in, and addresses from which somebody has logged in since the start.',
    ),
    strangerGrace: duration(
      '5s',
      { min: '10ms', ...TIMER },
      'Where there is no more room, the connection that is not logged in for longest is closed for a new one, if it had so long.',
    ),
    depth: count(
      8,
      { min: 2, max: 100 },
      'Objects and arrays within each other in a request; a deeper one is answered 10100.',
    ),
    values: count(
      256,
      { min: 64, max: 1_000_000 },
      'Members and elements of all objects and arrays in a request; more are answered 10100 and not parsed: many small members cost much more than one text as long.',
    ),
    pipelined: count(
      1000,
      { min: 1 },
      'Requests of one connection that wait for their answer; then its socket is read no further until some are answered.',
    ),
    refusals: count(
      100,
      { min: 1 },
      'Refused requests in a row after which the connection is closed (4500).',
    ),
    connections: count(
      20_000,
      { min: 1 },
      'Connections in all, JSON and MQTT; one more is turned away at once (HTTP 503, CONNACK 0x03).',
    ),
    connectionsPerAddress: count(
      100,
      { min: 1 },
      'Connections of one address, an IPv6 /64 being one; one more is turned away (HTTP 429, CONNACK 0x03, without a word over TLS).',
    ),
    connectionsPerAccount: count(
      50,
      { min: 1 },
      'Connections of one account, JSON and MQTT; one more is refused (10123, CONNACK 0x03).',
    ),
    handshakes: count(
      500,
      { min: 1 },
      'New connections a second in all, in bursts of ten times as many; more are turned away.',
    ),
    handshakesPerAddress: count(10, { min: 1 }, 'The same for one address.'),
    handshakeTimeout: duration(
      '10s',
      { min: '10ms', ...TIMER },
      'How long the TLS handshake may take, and then a whole HTTP request; the connection is closed. For CONNECT see `mqtt.connectTimeout`.',
    ),
    loginTimeout: duration(
      '5m',
      { min: '10ms', ...TIMER },
      'A JSON connection that is not logged in and asks for nothing for so long is closed (10124, 4010).',
    ),
    requests: count(
      200,
      { min: 1 },
      'Requests a second of one connection, in bursts of ten times as many. JSON: more are answered 10120. MQTT, which has no such answer: packets are read no faster. Each counts, and each filter of a SUBSCRIBE; acknowledgements of what the client was sent do not.',
    ),
    requestBytes: bytes(
      '16KiB',
      { min: '1KiB' },
      'An MQTT packet that is longer counts as one request for each so many bytes of it.',
    ),
    accountRequests: count(500, { min: 1 }, 'The same for all connections of one account.'),
    accountBytes: bytes(
      '4MiB',
      { min: '1KiB' },
      'Bytes a second that one account sends over all its connections, in bursts of ten times as many, wherever it connects from. JSON: more are answered 10120. MQTT: read no faster.',
    ),
    broadcastBytes: bytes(
      '8MiB',
      { min: '1KiB' },
      'Bytes a second of broadcasts of one account, each counted once for each recipient, in bursts of ten times as many; one is let through whatever its size, and further ones are answered 10120 until that is paid off.',
    ),
    registrations: count(
      60,
      { min: 1 },
      'Registrations an hour from one address, tried ones included; more are answered 10121.',
    ),
    failedLogins: count(
      5,
      { min: 1 },
      'Wrong passwords from one address for one account without a delay; then each doubles it, and a login meanwhile is answered 10122 (CONNACK 0x03). From other addresses the account is open.',
    ),
    failedLoginsPerAddress: count(
      50,
      { min: 1 },
      'The same for one address and all accounts. Forgotten an hour after the last one.',
    ),
    loginDelay: duration('1s', { min: '10ms' }, 'The first such delay.'),
    loginDelayMax: duration('15m', { min: '10ms' }, 'The longest such delay.'),
    warnings: count(
      200,
      { min: 1 },
      'Refusals by a limit within a minute after which a JSON connection is closed (10125, 4009).',
    ),
    exempt: addresses(
      '127.0.0.0/8, ::1',
      'Addresses and networks without the limits by address, of handshakes and of requests a second. Loopback, since a proxy on this machine would make all clients one: name it in `http.trustProxy`, and theirs count.',
    ),
  },
} as const
