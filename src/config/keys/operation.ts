/** What an operator sees, and how the process ends. See schema.ts. */
import { duration, flag, optional, port, TIMER, text } from '../formats.js'

export const OPERATION = {
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
