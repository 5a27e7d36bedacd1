/**
 * How fast a client's packets are read. MQTT 3.1.1 has no way to refuse a packet and be sent it again but to close the
 * connection, so one that is too fast is not refused: it waits, and what it sent is answered later.
 *
 * Acknowledgements that we asked for are free: what we deliver must not be confirmed more slowly than it is delivered.
 * So is the PUBREL of a PUBLISH that was paid for. Those that nobody is waiting for cost as much as a request, and but
 * for PUBREL, which must have its PUBCOMP, go no further.
 */
import type { Limits } from '../../limits/limits.js'
import type { TokenBucket } from '../../limits/token-bucket.js'
import type { PacketMeter } from './packet-gate.js'

export interface PacerRules {
  /** Of a packet count as one request. */
  readonly bytesPerRequest: number
  /** Acknowledgements came that nobody waits for. */
  readonly onUnsolicited: (count: number) => void
}

/** Twice as many as there are packet identifiers: nobody owes more. */
const MAX_OWED = 2 * 65_535

export class Pacer implements PacketMeter {
  #account: TokenBucket | undefined
  /** What the account sends in bytes, wherever it connects from. */
  #sent: TokenBucket | undefined
  /** What was read since `settle`. */
  #cost = 0
  #bytes = 0
  #pings = 0
  #unsolicited = 0
  /** PUBACK, PUBREC and PUBCOMP that our packets ask for. */
  #owed = 0
  /** QoS 2 packets of the client that wait for its PUBREL. */
  #unreleased = 0

  /** @param own undefined where the client's requests are not counted */
  constructor(
    private readonly own: TokenBucket | undefined,
    private readonly limits: Limits,
    private readonly rules: PacerRules,
  ) {}

  /** From here on it counts for the account, too. */
  enter(account: TokenBucket, sent: TokenBucket): void {
    this.#account = account
    this.#sent = sent
  }

  /** Packets go out that ask for so many acknowledgements. */
  expect(count: number): void {
    this.#owed = Math.min(this.#owed + count, MAX_OWED)
  }

  admit(first: number, filters: number, bytes: number): boolean {
    switch (first >> 4) {
      case 4: // PUBACK
      case 5: // PUBREC
      case 7: // PUBCOMP
        return this.#acknowledge()
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

  /** To be asked when what was read is handed on. @returns how long to read no more, ms */
  settle(): number {
    const [cost, pings, bytes] = [this.#cost, this.#pings, this.#bytes]
    if (this.#unsolicited > 0) this.rules.onUnsolicited(this.#unsolicited)
    this.#cost = this.#bytes = this.#pings = this.#unsolicited = 0
    if (cost + pings === 0) return 0
    const now = performance.now()
    const sent = bytes > 0 ? (this.#sent?.borrow(bytes, now) ?? 0) : 0
    if (sent > 0) this.limits.count('limits.accountBytes')
    return Math.max(sent, this.#requests(cost, pings, now))
  }

  #requests(cost: number, pings: number, now: number): number {
    if (this.own === undefined) return 0
    const own = this.own.borrow(cost + pings, now)
    // A device that only pings does not wait for what others of its account have used up.
    const account = cost > 0 ? (this.#account?.borrow(cost, now) ?? 0) : 0
    if (own > 0) this.limits.count('limits.requests')
    if (account > 0) this.limits.count('limits.accountRequests')
    return Math.max(own, account)
  }
}
