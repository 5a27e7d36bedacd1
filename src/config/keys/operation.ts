/** What an operator sees, and how the process ends. See schema.ts. */
import { count, duration, flag, optional, port, secretUrl, TIMER, text } from '../formats.js'

export const OPERATION = {
  admin: {
    enabled: flag(
      true,
      'Serve the commands of `mumi` for operators at the Unix socket `admin.sock` in `data.dir`, which only the user of the process may open (docs/operations.md).',
    ),
    http: flag(
      false,
      'Serve them also over HTTP at `admin.host` and `admin.port`, to whoever has a token of `mumi admin-token create`.',
    ),
    host: text('127.0.0.1', 'Address of the admin listener.'),
    port: port(9091, 'TCP port of the admin listener; 0 = any free one.'),
    tls: flag(true, 'Use TLS on this port if `tls.cert` is set.'),
    plain: flag(
      false,
      'Serve it without TLS on an address that other machines reach, for a proxy that ends TLS. Otherwise the gateway does not start: tokens would be readable on the way.',
    ),
  },
  audit: {
    file: optional(
      '',
      'File to which logins, failures, revocations and actions of admins are appended, one JSON object per line. Empty: none.',
    ),
  },
  health: {
    enabled: flag(true, 'Answer `GET /healthz` (alive) and `/readyz` (store and broker up, not closing).'),
  },
  mail: {
    url: secretUrl(
      '',
      'Mail server to which letters are given: `smtp://user:password@host:587` (TLS where the server offers it; `?requireTLS=true` insists) or `smtps://…`. Empty: letters are written to files in `mail.file`.',
    ),
    from: optional(
      '',
      'Address that letters are from, as `MumiChat <chat@example.com>`. Needed with `mail.url`.',
    ),
    file: optional(
      '',
      'Folder for letters where `mail.url` is empty, one `.eml` file each, the newest 1,000 are kept. Whoever reads one can use its link. Empty: the folder `mail` in `data.dir`.',
    ),
    retryFor: duration(
      '3d',
      { min: '1m', max: '30d' },
      'How long a letter is tried again, after 30 s and then twice as long each time, up to an hour. Then it is given up (`mail.given-up` in the log).',
    ),
    maxWaiting: count(
      10_000,
      { min: 1 },
      'Most letters that wait for the mail server; a further one is dropped (`mail.dropped` in the log).',
    ),
  },
  metrics: {
    enabled: flag(true, 'Answer `GET /metrics` (Prometheus text) at the ops address.'),
    public: flag(
      false,
      'Answer `GET /metrics` on the HTTP port, too. Everyone who can reach that port can then read how many clients connect, log in and send.',
    ),
    inboxesPerSecond: count(
      50,
      { max: 10_000 },
      'Inboxes that are looked at each second for messages that are not confirmed (`mumi_inbox_…`), round after round. An inbox costs a few reads of the store; with `mongodb` each is a query. 0: none.',
    ),
    cache: duration(
      '1s',
      { max: '1h' },
      'How long an answer is cached: gathering the metrics takes milliseconds of the event loop.',
    ),
  },
  ops: {
    enabled: flag(
      true,
      'Answer health and metrics on a separate address, without TLS and without limits, for the operator only.',
    ),
    host: text('127.0.0.1', 'Address of the ops listener.'),
    port: port(
      9090,
      'TCP port of the ops listener; 0 = any free one. If it is in use, the gateway runs without it and logs `ops.unavailable`.',
    ),
  },
  tracing: {
    otlp: {
      url: secretUrl(
        '',
        'Collector to which traces of messages are sent by OTLP over HTTP (JSON): `http://127.0.0.1:4318`; `/v1/traces` is added where the URL has no path. Headers may be set by `OTEL_EXPORTER_OTLP_HEADERS`. Empty: none.',
      ),
    },
    sample: count(100, { min: 1, max: 1_000_000 }, 'One message in so many is traced; 1: each.'),
    traceparent: flag(
      false,
      'Whether the user property `traceparent` of an MQTT 5 PUBLISH (W3C Trace Context) decides whether that message is traced, and in which trace. At most 100 a second.',
    ),
  },
  shutdown: {
    timeout: duration(
      '10s',
      { min: '10ms', ...TIMER },
      'How long a clean shutdown may take, after `spread`. Then the process ends with exit code 1.',
    ),
    spread: duration(
      '0s',
      { max: '1h' },
      'At SIGTERM and `mumi drain`, connections end one after the other over this time, and clients that can be told are told when to come back (docs/operations.md). 0: all at once.',
    ),
    serverReference: optional(
      '',
      'Another server, such as `chat2.example:8883`, to which clients of MQTT 5 are sent (0x9C) as their connections end over `spread`. Empty: they are to come back here (0x8B).',
    ),
  },
} as const
