/** What is listened on, and what each protocol takes. See schema.ts. */
import {
  acl,
  addresses,
  bytes,
  choice,
  count,
  duration,
  file,
  flag,
  optional,
  origins,
  path,
  port,
  TIMER,
  text,
} from '../formats.js'

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

export const FRONT_ENDS = {
  http: {
    enabled: flag(true, 'Serve HTTP: JSON over WebSocket at `/`, MQTT over WebSocket, `GET /test`.'),
    host: text(
      '127.0.0.1',
      'Address to listen on; the default accepts connections from this machine only. `0.0.0.0` or `::` accepts them from every network.',
    ),
    port: port(8080, 'TCP port; 0 = any free one (the log line `gateway.ready` tells which).'),
    tls: flag(true, 'Use TLS on this port (`https`, `wss`) if `tls.cert` is set.'),
    publicUrl: optional(
      '',
      'Where browsers reach this port, as `https://chat.example`: links in letters and to files begin with it, never with what a request says. Empty: the address of the port where that is one of this machine; else letters have codes and no links, and links to files are paths without a host.',
    ),
    trustProxy: addresses(
      '',
      'Addresses and networks of reverse proxies whose `X-Forwarded-For` names the client. Applies to WebSocket and HTTP; MQTT over TCP has no such header.',
    ),
    origins: origins(
      '',
      'Web pages that may connect, as `https://chat.example`, or `https://*.chat.example` for any one label. Another `Origin` is refused (403). Clients without an `Origin` are not browsers and are admitted. Empty: any page.',
    ),
  },
  rest: {
    enabled: flag(
      true,
      'Serve the REST API below `/api` of the HTTP port. Its code is loaded at the first request for it.',
    ),
    maxBufferedBytes: bytes(
      '64MiB',
      { min: '1MiB' },
      'Bytes of bodies and answers of the REST API that are held at a time; beyond it a request is answered 503. One account, or one address without a login, may hold an eighth.',
    ),
  },
  json: {
    encryption: choice(
      'allow',
      ['off', 'allow', 'require'],
      'Encrypted packets of JSON clients (docs/encryption.md). `allow`: for those that begin with them. `require`: a plain request is answered 10161; MQTT, the REST API and the pages below `/account/` are not concerned. `off`: they are an unknown request.',
    ),
  },
  mqtt: {
    enabled: flag(true, 'Serve MQTT 3.1, 3.1.1 and 5: over TCP, and over WebSocket on the HTTP port.'),
    host: text(
      '127.0.0.1',
      'Address to listen on; the default accepts connections from this machine only. `0.0.0.0` or `::` accepts them from every network.',
    ),
    port: port(1883, 'TCP port; 0 = any free one (the log line `gateway.ready` tells which).'),
    websocketPath: path('/mqtt', 'Path of MQTT over WebSocket on the HTTP port.'),
    payload: choice(
      'text',
      ['text', 'json'],
      'The payload of a PUBLISH to `users/<id>/inbox`: the content as UTF-8, or `{"content":"…","id":"…"}`.',
    ),
    anonymous: flag(
      false,
      'Let clients connect that have no user name, or one that is neither an email address nor a user id; their password is not looked at. They may use the topics that `mqtt.acl` opens, and no inbox.',
    ),
    acl: acl(
      'closed',
      'Topics other than `users/…` that clients may use: none, all, or a list of `{pattern, access: read | write | readwrite, roles?: [admin | user | device]}`; in a pattern, `%u` is the user id and `%c` the client id. In the environment and on the command line a list is JSON.',
    ),
    closeOnRefused: flag(
      false,
      'Whether a refused PUBLISH closes its connection. If false, it is only dropped.',
    ),
    keepaliveLimit: duration(
      '0',
      { max: '65535s' },
      'Longest keep-alive that a client may ask for, rounded up to whole seconds. A connection with a longer one, or with none, is closed without an answer (CONNACK has no code for it). 0: no limit.',
    ),
    connectTimeout: duration(
      '10s',
      { min: '10ms', ...TIMER },
      'A connection without a CONNECT for this long is closed.',
    ),
    maxPacketBytes: bytes(
      '1MiB',
      { min: 128, max: '256MiB' },
      'Largest packet that a client may send; a larger one closes its connection.',
    ),
    maxFrameBytes: bytes(
      '4MiB',
      { min: 128, max: '256MiB' },
      'Largest WebSocket message that an MQTT client may send; a larger one closes its connection (1009). A message may hold several packets or a part of one. Never less than `mqtt.maxPacketBytes`.',
    ),
    maxTopicLevels: count(
      32,
      { min: 4, max: 128 },
      'Most levels of a topic or filter; one with more is refused. An inbox topic has 4.',
    ),
    maxTopicBytes: bytes(
      '1024',
      { min: 64, max: 1024 },
      'Longest topic or filter; a longer one is refused. Keys of the store allow no more.',
    ),
    maxClientIdBytes: bytes(
      '256',
      { min: 23, max: 256 },
      'Longest client id; a longer one is refused (0x02). Also for MQTT 3.1, whose limit of 23 characters many clients ignore. Keys of the store allow no more.',
    ),
    maxWillBytes: bytes(
      '16KiB',
      { max: 65_535 },
      'Longest will message; a CONNECT with a longer one closes its connection. The limits of will, client id and topic, plus 14 KiB for user name, password and properties, bound what is read of a client before its login.',
    ),
    maxSubscriptions: count(
      500,
      { min: 1 },
      'Most subscriptions of one MQTT session; a further one is refused (SUBACK 0x80). A packet with more than twice as many filters closes its connection.',
    ),
    maxSessions: count(
      100,
      { min: 1 },
      'Most persistent MQTT sessions of one account. A CONNECT for a further one is refused (0x03) until one ends or expires.',
    ),
    maxInflight: count(
      100,
      { min: 1, max: 32_767 },
      'Most inbox messages sent to one device without its PUBACK or PUBCOMP; further ones wait in the store.',
    ),
    maxUnreleased: count(
      1000,
      { min: 1, max: 65_535 },
      'Most QoS 2 packets of one MQTT session that were received and wait for PUBREL; a further one closes the connection.',
    ),
    maxBufferedBytes: bytes(
      '1MiB',
      { min: '1KiB' },
      'Bytes that wait in one socket. Above it, nothing more is sent to the device until it has read.',
    ),
    presenceWindow: duration(
      '250ms',
      {},
      'How long a change of `users/<id>/presence` waits for further changes. Only the last one is sent to subscribers, so that a client that reconnects often does not cost each of them a packet every time. A SUBSCRIBE gets the current state.',
    ),
    sessionExpiry: duration(
      '30d',
      {},
      'A persistent MQTT session expires if its client was away for this long. 0: never.',
    ),
    maxQueuedMessages: count(
      10_000,
      { min: 1 },
      'Most messages of `mqtt.acl` topics that wait for one persistent MQTT session; beyond it the oldest is dropped.',
    ),
    maxQueuedBytes: bytes(
      '64MiB',
      { min: '1KiB' },
      'The same in bytes, including topics and about 150 bytes per message.',
    ),
    accountQueuedBytes: bytes(
      '256MiB',
      { min: '1KiB' },
      'The same in bytes for all MQTT sessions of one account together; beyond it the oldest message of the session that gets a further one is dropped.',
    ),
    maxRetained: count(
      1_000_000,
      {},
      'Most retained messages of all accounts; a further one is not kept. Existing ones can always be replaced.',
    ),
    maxRetainedBytes: bytes(
      '1GiB',
      { min: '1KiB' },
      'The same in bytes, including topics and about 150 bytes per message; also applies to one that replaces a smaller one.',
    ),
    accountRetained: count(
      10_000,
      { min: 1 },
      'Most retained messages whose last publisher is the same account; a further one is not kept. All anonymous clients count as one account.',
    ),
    accountRetainedBytes: bytes(
      '64MiB',
      { min: '1KiB' },
      'The same in bytes, counted like `mqtt.maxRetainedBytes`.',
    ),
  },
  mqtts: {
    enabled: flag(true, 'Serve MQTT over TLS if `tls.cert` is set and `mqtt.enabled`.'),
    host: text(
      '127.0.0.1',
      'Address to listen on; the default accepts connections from this machine only. `0.0.0.0` or `::` accepts them from every network.',
    ),
    port: port(8883, 'TCP port; 0 = any free one (the log line `gateway.ready` tells which).'),
  },
  tls: {
    cert: file('', 'PEM file of the certificate and its intermediates, for all front ends. Empty: no TLS.'),
    key: file('', 'PEM file of the private key.'),
    minVersion: choice('TLSv1.2', ['TLSv1.2', 'TLSv1.3'], 'Oldest TLS version that is accepted.'),
    ciphers: text(CIPHERS, 'Ciphers in OpenSSL’s format, for TLS 1.3 and older together.'),
    watch: duration(
      '10s',
      { ...TIMER },
      'How often the two files are checked for changes. Changed files are loaded for new connections. 0: only at SIGHUP.',
    ),
  },
} as const
