/** Packet identifiers of what a client gets besides its inbox. */
import type { DeliveryRules, Recipient } from './delivery-rules.js'

/** From here to 65535 they belong to the inbox (mqtt/inbox-delivery.ts), those below to other topics. */
export const FIRST_INBOX_ID = 32_768
const LAST_ID = FIRST_INBOX_ID - 1

export class PacketIds {
  /** Begins by chance: a client of a clean session that is back does not get the ids of its last connection again. */
  #next = 1 + Math.floor(Math.random() * LAST_ID)

  constructor(
    private readonly client: Recipient,
    private readonly rules: Pick<DeliveryRules, 'isInFlight'>,
  ) {}

  /** The next one, and none that is in flight [MQTT-2.3.1-2]. It counts for the client's receive maximum from now on. */
  take(): number {
    const { client, rules } = this
    let id = this.#next
    // Bounded: a session may have more packets in flight than there are ids.
    for (let tries = 0; tries < LAST_ID && rules.isInFlight(client, id); tries++) id = 1 + (id % LAST_ID)
    this.#next = 1 + (id % LAST_ID)
    client.terms.inFlight?.add(id)
    return id
  }
}
