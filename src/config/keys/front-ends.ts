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
} as const
