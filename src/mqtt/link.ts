import type { Locale } from '../core/errors.js'
import type { Guest } from '../limits/guests.js'
import type { AedesClient } from './aedes/client.js'
import type { ClientDelivery } from './aedes/delivery.js'
import type { Pacer } from './wire/pacer.js'
import type { MqttTransport } from './wire/transport.js'

/** The parts of one connection that are made before CONNECT. */
export interface Link {
  /** Aedes' half of the connection. */
  readonly client: AedesClient
  /** The stream between the socket and Aedes. */
  readonly transport: MqttTransport
  /** Delivers routed packets and the packets of the stored queue. */
  readonly delivery: ClientDelivery
  /** Limits how fast the client is read. */
  readonly pacer: Pacer
  /** The connection's place in `limits.connections`. */
  readonly guest: Guest
  /** Language asked for in the WebSocket's URL. */
  readonly locale: Locale | undefined
}
