/** Every config key: its format, its default, and what happens at its edge. The one place where keys are named. */
import {
  acl,
  addresses,
  bytes,
  choice,
  count,
  duration,
  file,
  flag,
  type Key,
  mongoUrl,
  optional,
  origins,
  path,
  port,
  secretUrl,
  TIMER,
  text,
  userIds,
} from './formats.js'

/** Mozilla's intermediate list (Server Side TLS 5.7): forward secrecy and authenticated encryption, nothing else. */
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':')

export const SCHEMA = {
  http: {
    enabled: flag(true, 'Serve HTTP: JSON over WebSocket at `/`, MQTT over WebSocket, `GET /test`.'),
    host: text(
      '127.0.0.1',
      'Address to listen on: this machine only. `0.0.0.0` or `::` opens it to every network.',
    ),
    port: port(8080, 'TCP port; 0 takes any free one (the log line `gateway.ready` says which).'),
    tls: flag(true, 'Speak TLS on this port (`https`, `wss`) where `tls.cert` is set.'),
    trustProxy: addresses(
      '',
      'Addresses and networks of reverse proxies whose `X-Forwarded-For` says who the client is. For WebSocket and HTTP; MQTT over TCP has no such header.',
    ),
    origins: origins(
      '',
      'Web pages that may connect, as `https://chat.example` or, for each name one label below it, `https://*.chat.example`; another `Origin` is refused (403). Clients that send none are no browsers and are let in. Empty: any page.',
    ),
  },
  mqtt: {
    enabled: flag(true, 'Serve MQTT 3.1 and 3.1.1: over TCP, and over WebSocket on the HTTP port.'),
    host: text(
      '127.0.0.1',
      'Address to listen on: this machine only. `0.0.0.0` or `::` opens it to every network.',
    ),
    port: port(1883, 'TCP port; 0 takes any free one (the log line `gateway.ready` says which).'),
    websocketPath: path('/mqtt', 'Path of MQTT over WebSocket on the HTTP port.'),
    payload: choice(
      'text',
      ['text', 'json'],
      'What a PUBLISH to `users/<id>/inbox` carries: the content itself as UTF-8, or `{"content":"…","id":"…"}`.',
    ),
    anonymous: flag(
      false,
      'Let clients without a user name connect. They may use what `mqtt.acl` opens and no inbox.',
    ),
    acl: acl(
      'closed',
      'Topics beyond `users/…`: none, all, or a list of `{pattern, access: read | write | readwrite, roles?: [admin | user | device]}`; `%u` in a pattern is the user id, `%c` the client id. In the environment and on the command line a list is JSON.',
    ),
    closeOnRefused: flag(
      false,
      'Whether a refused PUBLISH also closes its connection; without, it is only dropped.',
    ),
    keepaliveLimit: duration(
      '0',
      { max: '65535s' },
      'Longest keep-alive a client may ask for, rounded up to whole seconds; one that asks for more, or for none at all, is closed without an answer (CONNACK has no code for it). 0: any.',
    ),
    connectTimeout: duration(
      '10s',
      { min: '10ms', ...TIMER },
      'A connection that sent no CONNECT for so long is closed.',
    ),
    maxPacketBytes: bytes(
      '1MiB',
      { min: 128, max: '256MiB' },
      'Largest packet taken from a client; a longer one closes its connection.',
    ),
    maxFrameBytes: bytes(
      '4MiB',
      { min: 128, max: '256MiB' },
      'Largest WebSocket message taken from an MQTT client, which may hold several packets or a part of one; a longer one closes its connection (1009). Never less than `mqtt.maxPacketBytes`.',
    ),
    maxTopicLevels: count(
      16,
      { min: 4, max: 128 },
      'Levels in a topic or filter; one with more is refused. An inbox topic has 4.',
    ),
    maxTopicBytes: bytes(
      '1024',
      { min: 64, max: 1024 },
      'Longest topic or filter; a longer one is refused. Store keys allow no more.',
    ),
    maxClientIdBytes: bytes(
      '256',
      { min: 23, max: 256 },
      'Longest client id, also of MQTT 3.1, whose own limit of 23 characters many clients do not keep; a longer one is refused (0x02). Store keys allow no more.',
    ),
    maxWillBytes: bytes(
      '16KiB',
      { max: 65_535 },
      'Longest will message; a CONNECT with a longer one is closed. With it, the client id, the topic and 10 KiB for user name and password end what is read of a client before it has logged in.',
    ),
    maxSubscriptions: count(
      500,
      { min: 1 },
      'Filters of one session; one more is refused (SUBACK 0x80). A packet that names more than twice as many closes its connection.',
    ),
    maxSessions: count(
      100,
      { min: 1 },
      'Persistent sessions of one account; a CONNECT for one more is refused (0x03) until one ends or expires.',
    ),
    maxInflight: count(
      100,
      { min: 1, max: 32_767 },
      'Inbox messages on the way to one device without its PUBACK or PUBCOMP; the next waits in the store.',
    ),
    maxUnreleased: count(
      1000,
      { min: 1, max: 65_535 },
      'QoS 2 packets of one session that were received and wait for their PUBREL; one more closes the connection.',
    ),
    maxBufferedBytes: bytes(
      '1MiB',
      { min: '1KiB' },
      'Bytes that wait in one socket; above it the device is sent nothing until it has read.',
    ),
    presenceWindow: duration(
      '250ms',
      {},
      'How long a change of `users/<id>/presence` waits for the next one: only the last is sent to subscribers, so that clients which come and go in quick succession do not cost each of them a packet a time. SUBSCRIBE tells the state of the moment.',
    ),
    sessionExpiry: duration(
      '30d',
      {},
      'A persistent session whose client stayed away longer is forgotten. 0: never.',
    ),
    maxQueuedMessages: count(
      10_000,
      { min: 1 },
      'Messages of opened topics that wait for one persistent session; beyond it the oldest is dropped.',
    ),
    maxQueuedBytes: bytes(
      '64MiB',
      { min: '1KiB' },
      'The same in bytes, with topic and about 150 bytes for each.',
    ),
    accountQueuedBytes: bytes(
      '256MiB',
      { min: '1KiB' },
      'The same for all sessions of one account together; beyond it the oldest of the session that gets one more is dropped.',
    ),
    maxRetained: count(
      1_000_000,
      {},
      'Retained messages in all; a new one beyond it is not kept. Replacing one is always possible.',
    ),
    maxRetainedBytes: bytes(
      '1GiB',
      { min: '1KiB' },
      'The same in bytes, with topic and about 150 bytes for each; also for one that replaces a smaller one.',
    ),
    accountRetained: count(
      10_000,
      { min: 1 },
      'Retained messages that one account published last; a new one beyond it is not kept. Anonymous clients are one account.',
    ),
    accountRetainedBytes: bytes('64MiB', { min: '1KiB' }, 'The same in bytes, counted as for all.'),
  },
  mqtts: {
    enabled: flag(true, 'Serve MQTT over TLS where `tls.cert` is set and `mqtt.enabled`.'),
    host: text(
      '127.0.0.1',
      'Address to listen on: this machine only. `0.0.0.0` or `::` opens it to every network.',
    ),
    port: port(8883, 'TCP port; 0 takes any free one (the log line `gateway.ready` says which).'),
  },
  tls: {
    cert: file(
      '',
      'PEM file of the certificate and what leads to its root, for all front ends. Empty: no TLS anywhere.',
    ),
    key: file('', 'PEM file of its private key.'),
    minVersion: choice('TLSv1.2', ['TLSv1.2', 'TLSv1.3'], 'Oldest version that is spoken.'),
    ciphers: text(CIPHERS, 'Ciphers in the form of OpenSSL, TLS 1.3 and older together.'),
    watch: duration(
      '10s',
      { ...TIMER },
      'How often the two files are looked at; changed, they are loaded again, and open connections stay. 0: only at SIGHUP.',
    ),
  },
  data: {
    dir: text(
      './data',
      'Folder of everything that is kept, made when absent; relative to the working directory. One process at a time.',
    ),
  },
  store: {
    type: choice(
      'embedded',
      ['embedded', 'mongodb'],
      'Where it is kept: `embedded` is LMDB in the folder `store` of `data.dir`, nothing to install; `mongodb` is a MongoDB server (docs/mongodb.md).',
    ),
    durability: choice(
      'commit',
      ['commit', 'flush'],
      'When a message counts as stored, with `embedded`: `commit` survives the death of the process, `flush` waits for the disk and survives a power cut.',
    ),
    checkTimeout: duration(
      '30s',
      { min: 0, max: '1h' },
      'How long a start may read the file of `embedded` for damage where the last stop was none, or the file is another one since; what is not read by then stays unchecked. `mumi check` reads all of it.',
    ),
    mongodb: {
      url: mongoUrl(
        'mongodb://127.0.0.1:27017',
        'Connection string, with user, password and any other option of the driver. Never printed.',
      ),
      database: text('mumi', 'Database that holds everything; made when absent.'),
      gateway: text(
        'main',
        'Name under which MQTT sessions, retained messages and wills are kept: each of several gateways on one database needs its own.',
      ),
      writeConcern: choice(
        'majority',
        ['majority', '1', '2', '3'],
        'Servers that must have a write before it counts as stored. With less than `majority` a failover can lose what was acknowledged.',
      ),
      journal: flag(
        true,
        'Whether they must have it in their journal, too: without, a power cut can lose what was acknowledged.',
      ),
      readConcern: choice(
        'majority',
        ['majority', 'local'],
        'What is read: with `local`, messages may be delivered that a failover then undoes.',
      ),
      poolSize: count(20, { min: 2, max: 1000 }, 'Connections to the server at most.'),
      timeout: duration(
        '5s',
        { min: '100ms', max: '1h' },
        'How long an operation may take; then the request is answered with a code to try again.',
      ),
      startTimeout: duration(
        '30s',
        { min: '100ms', max: '1h' },
        'How long the start waits for the server; then it fails with exit code 1.',
      ),
    },
  },
  log: {
    level: choice(
      'info',
      ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
      'Lowest level that is logged. Each single message is at `debug`.',
    ),
    pretty: choice(
      'auto',
      ['auto', 'always', 'never'],
      'Lines for people instead of JSON; `auto`: when stdout is a terminal.',
    ),
    repeatWindow: duration(
      '10s',
      { max: '1h' },
      'A refusal or fault that repeats within this time is counted and becomes one line with `repeats`; 0 = each is a line.',
    ),
  },
  locale: choice(
    'zh-TW',
    ['zh-TW', 'en'],
    'Language of `msg` in replies; a connection chooses another with `?lang=en`.',
  ),
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
  accounts: {
    broadcast: choice(
      'users',
      ['users', 'admins', 'off'],
      'Who may send broadcasts, devices being users: everyone who is logged in, admins (`roles.admins`), nobody. Others are answered 10110.',
    ),
  },
  request: {
    unknownFields: choice(
      'refuse',
      ['refuse', 'ignore'],
      'A field that no request has: answered 10101, or passed over.',
    ),
  },
  inbox: {
    maxMessages: count(
      1_000_000,
      { min: 1 },
      'Messages kept in one inbox. Beyond it the oldest go that all devices of the account have confirmed (those seen within `devices.expiry`). What is not confirmed stays, and new messages are answered 10126: one sender may have 2 × (room left)² / `inbox.maxMessages` of them there, half of the inbox at most, and less the fuller it is.',
    ),
    maxBytes: bytes(
      '1GiB',
      { min: '64KiB' },
      'The same in bytes of their text; not confirmed ones count by characters.',
    ),
    maxAge: duration('0', {}, 'Messages older than this go, confirmed or not. 0: kept for ever.'),
    maxWaitingBytes: bytes(
      '64MiB',
      { min: '1MiB' },
      'Bytes of messages that wait to be stored. One sender may have as many of them as are left for others, so that the rest get through: more is answered 10127, and a device that sends more is read later.',
    ),
    batchBytes: bytes(
      '8MiB',
      { min: '64KiB', max: '256MiB' },
      'Bytes of messages in one commit, of which broadcasts and who sends much get an eighth: what comes meanwhile waits for that long. One message is always let through.',
    ),
  },
  devices: {
    expiry: duration(
      '90d',
      {},
      'The place in the inbox of a device that stayed away longer is forgotten. 0: never.',
    ),
  },
  passwords: {
    cost: count(
      10,
      { min: 4, max: 15 },
      'bcrypt cost; each step doubles the time of a login. Old hashes stay valid.',
    ),
    concurrency: count(
      0,
      { min: 0, max: 64 },
      'Passwords hashed at one time, each in a thread of low priority. 0: one less than there are cores, at least one, so that logins do not slow messages down.',
    ),
    queue: count(
      1000,
      { min: 1 },
      'Logins and registrations that wait for that; one more is answered 10001.',
    ),
    minLength: count(
      1,
      { min: 1, max: 64 },
      'Characters that a new password must have; a shorter one is answered 10101. 8 suits a public server, 1 keeps every old client working.',
    ),
    common: choice(
      'allow',
      ['allow', 'refuse'],
      'Whether a new password may be one of the 10,000 most common ones; a refused one is answered 10101.',
    ),
  },
  tokens: {
    accessLifetime: duration(
      '15m',
      { min: '1s', max: '1d' },
      'How long an access token logs in. A connection that it let in lives on.',
    ),
    refreshLifetime: duration(
      '30d',
      { min: '1s' },
      'How long a refresh token is good; each use gives a new one, good for as long again.',
    ),
    refreshGrace: duration(
      '5s',
      { max: '1m' },
      'For so long after its first use a refresh token that is used again gives the same pair: two tabs of a browser refresh at once. A thief’s use in that time is not noticed. 0: never.',
    ),
    keyLifetime: duration(
      '30d',
      {},
      'Age at which the key that signs tokens is replaced by a new one; it verifies until its last token has expired. 0: never.',
    ),
    perAccount: count(
      100,
      { min: 1, max: 10_000 },
      'Sessions with tokens and device credentials of one account; for one more, the one not seen for longest goes.',
    ),
  },
  jwt: {
    jwksUrl: secretUrl(
      '',
      'Where the public keys of another issuer are, whose JWTs log in, too. Empty: nowhere.',
    ),
    publicKeyFile: optional(
      '',
      'The same as a file: one public key or certificate as PEM. Empty: none. Not together with `jwt.jwksUrl`.',
    ),
    issuer: optional('', 'The `iss` that such a token must have; needed with either.'),
    audience: optional('', 'The `aud` that it must have; needed with either.'),
    leeway: duration(
      '1m',
      { max: '10m' },
      'How far the issuer’s clock may be from ours: a token is taken so long before its `nbf` and after its `exp`.',
    ),
    claim: text('sub', 'The claim that names the user, who must have an account here.'),
    user: choice(
      'id',
      ['id', 'email'],
      'What that claim is. `email` needs the claim `email_verified` to be true. Nobody here checks that an address is its owner’s: with `email`, close registration to strangers.',
    ),
  },
  roles: {
    admins: userIds(
      '',
      'Ids of accounts with the role `admin`, separated by commas: they see and revoke sessions of all, and have what `mqtt.acl` grants that role.',
    ),
  },
  privacy: {
    email: choice(
      'everyone',
      ['everyone', 'users', 'self'],
      'Who sees the address of another user in query replies; `everyone`: also before login, as far as `query.anonymous` lets ask. Hidden, it is "".',
    ),
    presence: choice(
      'everyone',
      ['everyone', 'users', 'self'],
      'Who learns whether another user is online: `isLogin` in query replies (hidden: false), and with `self` the presence topics are one’s own only.',
    ),
    listing: choice(
      'users',
      ['users', 'admins'],
      'Who may list users without naming an id, email or user name; with `admins`, others find themselves only.',
    ),
  },
  audit: {
    file: optional(
      '',
      'File to which logins, failures, revocations and admin acts are appended, a JSON object a line. Empty: none.',
    ),
  },
  health: {
    enabled: flag(true, 'Answer `GET /healthz` (alive) and `/readyz` (store and broker up, not closing).'),
  },
  metrics: {
    enabled: flag(true, 'Answer `GET /metrics` (Prometheus text) at the ops address.'),
    public: flag(
      false,
      'Answer it on the HTTP front end, too: whoever reaches that then reads how many connect, log in and write.',
    ),
    cache: duration(
      '1s',
      { max: '1h' },
      'For so long one answer is the same for all who ask: to gather it costs milliseconds of the event loop.',
    ),
  },
  ops: {
    enabled: flag(
      true,
      'Answer health and metrics on an address of their own, without TLS and without limits: for the operator only.',
    ),
    host: text('127.0.0.1', 'That address.'),
    port: port(
      9090,
      'Its TCP port; 0 takes any free one. Where it is taken the gateway serves without it, and says so (`ops.unavailable`).',
    ),
  },
  shutdown: {
    timeout: duration(
      '10s',
      { min: '10ms', ...TIMER },
      'How long a clean end may take; then the process ends with exit code 1.',
    ),
  },
} as const

type Parsed<Node> = Node extends Key<infer T> ? T : { readonly [K in keyof Node]: Parsed<Node[K]> }

/** The effective config, frozen. Durations are ms, sizes are bytes. */
export type Config = Parsed<typeof SCHEMA>

/** All keys in the order of the schema, each by its dotted name. */
export const KEYS: ReadonlyMap<string, Key<unknown>> = new Map(Object.entries(SCHEMA).flatMap(keysOf))

function keysOf([name, node]: [string, Key<unknown> | object]): [string, Key<unknown>][] {
  if (isKey(node)) return [[name, node]]
  return Object.entries(node).flatMap(([key, leaf]) => keysOf([`${name}.${key}`, leaf]))
}

function isKey(node: object): node is Key<unknown> {
  return 'doc' in node
}

/** `mqtt.maxPacketBytes` is MUMI_MQTT_MAX_PACKET_BYTES. */
export const envName = (key: string): string =>
  `MUMI_${key
    .replace(/([a-z])([A-Z])/g, '$1_$2')
    .replaceAll('.', '_')
    .toUpperCase()}`
