/**
 * Limits the rate at which a client's packets are read. MQTT 3.1.1 cannot refuse a PUBLISH and have it sent again without
 * closing the connection, so a client over its rate is read later.
 *
 * Acknowledgements of packets that we sent are free, since messages must not be confirmed more slowly than they are
 * delivered; so is the PUBREL of a PUBLISH that was counted. Other acknowledgements cost as much as a request and are
 * dropped, except PUBREL, which must be answered by PUBCOMP [MQTT-4.3.3-2].
 */
import type { Traffic as AccountTraffic } from '../../limits/account-limits.js'
import type { Limits } from '../../limits/limits.js'
import type { TokenBucket } from '../../limits/token-bucket.js'
import type { PacketMeter } from './packet-gate.js'
import type { Traffic } from './traffic.js'

export interface PacerRules {
  /** So many bytes of packets count as one request. */
  readonly bytesPerRequest: number
  readonly traffic: Traffic
  /** Acknowledgements came that no packet of ours had asked for. */
  readonly onUnsolicited: (count: number) => void
}

/** PUBREC and PUBCOMP for each of the 65,535 packet identifiers: a client cannot owe more. */
const MAX_OWED = 2 * 65_535

export class Pacer implements PacketMeter {
  #account: TokenBucket | undefined
  /** Bytes of all connections of the account, and those of the copies that they made. */
  #traffic: AccountTraffic | undefined
  /** Requests, bytes and pings since the last `settle`. */
  #cost = 0
  #bytes = 0
  #pings = 0
  #unsolicited = 0
  /** PUBACK, PUBREC and PUBCOMP that the client owes us. */
  #owed = 0
  /** QoS 2 packets from the client whose PUBREL has not come. */
  #unreleased = 0

  /** A PUBREC that nothing had asked for is answered, too: MQTT 5 has a reason code for it (3.6.2.1). */
  answersUnknown = false

  /** @param own bucket of the connection; undefined for an address that is exempt from limits */
  constructor(
    private readonly own: TokenBucket | undefined,
    private readonly limits: Limits,
    private readonly rules: PacerRules,
  ) {}

  /** The client has logged in: its packets count for the account, too. */
  enter(account: TokenBucket, traffic: AccountTraffic): void {
    this.#account = account
    this.#traffic = traffic
  }

  /** Packets go out that ask for `count` acknowledgements. */
  expect(count: number): void {
    this.#owed = Math.min(this.#owed + count, MAX_OWED)
  }

  admit(first: number, filters: number, bytes: number): boolean {
    this.rules.traffic.receive(first, bytes)
    switch (first >> 4) {
      case 4: // PUBACK
      case 7: // PUBCOMP
        return this.#acknowledge()
      case 5: // PUBREC
        return this.#acknowledge() || this.answersUnknown
      case 6: // PUBREL
        if (this.#unreleased > 0) this.#unreleased--
        else this.#cost++
        return true
      case 12: // PINGREQ
        this.#pings++
        return true
      case 14: // DISCONNECT
        return true
      case 3: // PUBLISH
        if ((first & 0x06) === 0x04) this.#unreleased++
    }
    this.#bytes += bytes
    this.#cost += Math.max(filters, bytes / this.rules.bytesPerRequest)
    return true
  }

  #acknowledge(): boolean {
    if (this.#owed > 0) {
      this.#owed--
      return true
    }
    this.#unsolicited++
    this.#cost++
    return false
  }

  /** Charges what was admitted since the last call. @returns for how long to read no more, ms; 0: read on */
  settle(): number {
    const [cost, pings, bytes] = [this.#cost, this.#pings, this.#bytes]
    if (this.#unsolicited > 0) this.rules.onUnsolicited(this.#unsolicited)
    this.#cost = this.#bytes = this.#pings = this.#unsolicited = 0
    if (cost + pings === 0) return 0
    const now = performance.now()
    return Math.max(bytes > 0 ? this.#sent(bytes, now) : 0, this.#requests(cost, pings, now))
  }

  #sent(bytes: number, now: number): number {
    const sent = this.#traffic?.sent.borrow(bytes, now) ?? 0
    // What a packet costs that is stored for many sessions is known behind it: the next one waits.
    const copied = this.#traffic?.broadcast.borrow(0, now) ?? 0
    if (sent > 0) this.limits.count('limits.accountBytes')
    if (copied > 0) this.limits.count('limits.broadcastBytes')
    return Math.max(sent, copied)
  }

  #requests(cost: number, pings: number, now: number): number {
    if (this.own === undefined) return 0
    const own = this.own.borrow(cost + pings, now)
    // A device that only pings does not wait because other devices of its account have used up the account's rate.
    const account = cost > 0 ? (this.#account?.borrow(cost, now) ?? 0) : 0
    if (own > 0) this.limits.count('limits.requests')
    if (account > 0) this.limits.count('limits.accountRequests')
    return Math.max(own, account)
  }
}
