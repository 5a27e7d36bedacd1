/**
 * Records what was acknowledged to senders and what each device received, as the clients see it on their sockets. It does
 * not use what the server reports about itself (metrics, history, logs).
 */
import { contentOf, parseContent } from './content.js'

/** How a sender resends: with a request id, in the same MQTT session, or in a new one, where the server may store it again. */
export type SenderKind = 'json' | 'mqttSession' | 'mqttClean'

/** `late`: a first arrival after a greater number. */
type Arrival = 'first' | 'late' | 'repeat'

/** The numbers received of a rising sequence: an interval and its holes. */
export class Sequence {
  first: number | undefined
  last = -1
  readonly missing = new Set<number>()

  /** Every number from `n` on that does not arrive is a hole. */
  expectFrom(n: number): void {
    this.first = n
    this.last = n - 1
  }

  add(n: number): Arrival {
    if (this.first === undefined) this.expectFrom(n)
    if (n > this.last) {
      for (let hole = this.last + 1; hole < n; hole++) this.missing.add(hole)
      this.last = n
      return 'first'
    }
    if (this.missing.delete(n)) return 'late'
    if (n >= (this.first ?? n)) return 'repeat'
    for (let hole = n + 1; hole < (this.first ?? n); hole++) this.missing.add(hole)
    this.first = n
    return 'late'
  }

  has(n: number): boolean {
    return this.first !== undefined && n >= this.first && n <= this.last && !this.missing.has(n)
  }
}

/** The messages of one sending client to one account, numbered from 0. */
export class Pair {
  sent = 0
  acknowledged = 0
  /** performance.now() of the acknowledgement, by number. */
  readonly acknowledgedAt: number[] = []
  /** Each message's place in the recipient's inbox: the lowest seq with which any device received it. */
  readonly seqs: number[] = []

  constructor(
    readonly sender: string,
    readonly kind: SenderKind,
    readonly recipient: Account,
  ) {}

  get name(): string {
    return `${this.sender}:${this.recipient.name}`
  }
}

export class Account {
  userId = ''
  readonly pairs: Pair[] = []
  readonly devices: DeviceLog[] = []
  /** All messages that any device received, by seq. */
  readonly rows = new Map<number, { readonly pair: Pair; readonly n: number; readonly id: string }>()
  lastSeq = 0
  /** Highest seq that any device has confirmed, as its client knows. */
  confirmed = 0

  constructor(readonly name: string) {}

  get email(): string {
    return `${this.name}@torture.example`
  }
}

export interface LateArrival {
  readonly pair: Pair
  readonly n: number
  readonly seq: number | undefined
}

/** What one device received. */
export class DeviceLog {
  delivered = 0
  duplicated = 0
  /** Received twice on one connection, which no protocol allows. */
  repeatedOnConnection = 0
  readonly seqs = new Sequence()
  readonly byPair = new Map<Pair, Sequence>()
  readonly late: LateArrival[] = []
  /** Messages sent to the account before this device was first known to the server, by pair. */
  sentBefore: ReadonlyMap<Pair, number> | undefined
  #lastOnConnection = 0

  constructor(
    readonly name: string,
    readonly account: Account,
    /** False for clients of the fixed protocol, whose messages have neither seq nor id. */
    readonly hasSeq: boolean,
    /** True: starts at the oldest message; false: after what the account has confirmed. */
    readonly fromStart: boolean,
  ) {
    account.devices.push(this)
  }

  /** A login or SUBSCRIBE was answered: from now on the device must receive everything. */
  entered(): void {
    this.sentBefore ??= new Map(this.account.pairs.map(pair => [pair, this.fromStart ? 0 : pair.sent]))
  }

  /** A new connection or subscription may repeat messages of the last one. */
  beginDelivery(): void {
    this.#lastOnConnection = 0
  }

  confirmed(seq: number): void {
    this.account.confirmed = Math.max(this.account.confirmed, seq)
  }

  sequence(pair: Pair): Sequence {
    const known = this.byPair.get(pair)
    if (known !== undefined) return known
    const sequence = new Sequence()
    if (this.fromStart) sequence.expectFrom(0)
    this.byPair.set(pair, sequence)
    return sequence
  }

  place(seq: number): Arrival {
    if (seq <= this.#lastOnConnection) this.repeatedOnConnection++
    this.#lastOnConnection = seq
    if (this.seqs.first === undefined)
      this.seqs.expectFrom(this.fromStart ? 1 : Math.min(seq, this.account.confirmed + 1))
    return this.seqs.add(seq)
  }
}

export interface Received {
  readonly content: string
  readonly seq: number | undefined
  readonly id: string | undefined
}

export class Ledger {
  readonly accounts: Account[] = []
  readonly pairs = new Map<string, Pair>()
  /** Contents that no client sent, and places of an inbox that held two messages. */
  readonly corrupt: string[] = []
  /** Messages stored more than once, by kind of sender. */
  readonly doubled: Record<SenderKind, number> = { json: 0, mqttSession: 0, mqttClean: 0 }
  /** performance.now() of the last first-time arrival on any device. */
  newsAt = 0

  account(name: string): Account {
    const account = new Account(name)
    this.accounts.push(account)
    return account
  }

  pair(sender: string, kind: SenderKind, recipient: Account): Pair {
    const pair = new Pair(sender, kind, recipient)
    this.pairs.set(pair.name, pair)
    recipient.pairs.push(pair)
    return pair
  }

  send(pair: Pair): { readonly n: number; readonly content: string } {
    const n = pair.sent++
    return { n, content: contentOf(pair.name, n) }
  }

  acknowledged(pair: Pair, n: number): void {
    if (pair.acknowledgedAt[n] !== undefined) return
    pair.acknowledgedAt[n] = performance.now()
    pair.acknowledged++
  }

  received(device: DeviceLog, { content, seq, id }: Received): void {
    device.delivered++
    const parsed = parseContent(content)
    const pair = parsed && this.pairs.get(parsed.pair)
    if (pair === undefined || pair.recipient !== device.account || parsed === undefined) {
      this.corrupt.push(`${device.name} got a content that nobody sent to it, seq ${seq}`)
      return
    }
    const { n } = parsed
    const bySeq = seq === undefined ? undefined : device.place(seq)
    if (seq !== undefined) this.#row(device.account, seq, { pair, n, id: id ?? '' })
    const byPair = device.sequence(pair).add(n)
    if (bySeq === 'late' || byPair === 'late') device.late.push({ pair, n, seq })
    if ((bySeq ?? byPair) === 'repeat') device.duplicated++
    else this.newsAt = performance.now()
  }

  #row(
    account: Account,
    seq: number,
    row: { readonly pair: Pair; readonly n: number; readonly id: string },
  ): void {
    const known = account.rows.get(seq)
    if (known === undefined) {
      account.rows.set(seq, row)
      account.lastSeq = Math.max(account.lastSeq, seq)
      const { pair, n } = row
      const place = pair.seqs[n]
      if (place !== undefined) this.doubled[pair.kind]++
      pair.seqs[n] = Math.min(place ?? seq, seq)
    } else if (known.pair !== row.pair || known.n !== row.n || known.id !== row.id) {
      this.corrupt.push(
        `seq ${seq} of ${account.name} is ${known.pair.name}:${known.n} and ${row.pair.name}:${row.n}`,
      )
    }
  }
}
