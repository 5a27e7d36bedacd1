import type { Locale } from '../core/errors.js'
import type { Guest } from '../limits/guests.js'
import type { Pacer } from './wire/pacer.js'
import type { MqttTransport } from './wire/transport.js'

/** The parts of one connection that are made before CONNECT. */
export interface Link {
  readonly transport: MqttTransport
  /** Limits how fast the client is read. */
  readonly pacer: Pacer
  /** The connection's place in `limits.connections`. */
  readonly guest: Guest
  /** Language asked for in the WebSocket's URL. */
  readonly locale: Locale | undefined
}
