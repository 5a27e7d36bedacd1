/** Evaluates the ledger at the end: which promise was broken, for which message, on which device. */
import type { Account, DeviceLog, LateArrival, Ledger, Pair } from './ledger.js'

export interface Findings {
  readonly sent: number
  readonly acknowledged: number
  readonly delivered: number
  readonly duplicated: number
  readonly repeatedOnConnection: number
  /** Acknowledged messages that are missing on at least one device. */
  readonly lost: number
  /** Messages whose first arrival came after a later message. */
  readonly reordered: number
  /** Seqs of an inbox that a device never received. */
  readonly gaps: number
  readonly corrupt: number
  /** Messages whose id is not greater than that of the sender's previous message. */
  readonly idsBack: number
  /** One line per finding, a few of each kind. */
  readonly details: readonly string[]
}

interface Missing {
  readonly pair: Pair
  readonly n: number
}

/** Lines per kind in the report. */
const MAX_DETAILS = 10

/** Acknowledged messages that the device should have received and did not. */
export function* missing(device: DeviceLog): Generator<Missing> {
  for (const pair of device.account.pairs) {
    const got = device.byPair.get(pair)
    const from = device.sentBefore?.get(pair) ?? 0
    const last = pair.acknowledgedAt.length - 1
    if (got?.first !== undefined && got.first <= from && got.last >= last && got.missing.size === 0) continue
    for (let n = Math.min(from, got?.first ?? from); n <= last; n++) {
      if (pair.acknowledgedAt[n] === undefined || got?.has(n)) continue
      // Messages before the device's first one were for older devices only.
      if (n >= from || (pair.seqs[n] ?? 0) >= (device.seqs.first ?? Infinity)) yield { pair, n }
    }
  }
}

/** Whether the device has not received everything yet. */
export function isBehind(device: DeviceLog): boolean {
  return tail(device) > 0 || missing(device).next().done !== true
}

/** Number of rows of the inbox after the last one that the device received. */
function tail({ hasSeq, seqs, account, sentBefore }: DeviceLog): number {
  // If the device received nothing, its start is unknown, and `missing` decides.
  if (!hasSeq || sentBefore === undefined || seqs.first === undefined) return 0
  return Math.max(0, account.lastSeq - seqs.last)
}

/** A resend of a message from before the device's start is not a reordering. */
const isReordered = ({ seqs, fromStart }: DeviceLog, { pair, n, seq }: LateArrival) =>
  fromStart || seq === undefined || (pair.seqs[n] ?? seq) >= (seqs.first ?? 0)

export function check(ledger: Ledger): Findings {
  const devices = ledger.accounts.flatMap(account => account.devices)
  const sum = (count: (device: DeviceLog) => number) =>
    devices.reduce((total, device) => total + count(device), 0)
  const lost = findLost(devices)
  const late = devices.flatMap(device =>
    device.late.filter(one => isReordered(device, one)).map(one => ({ device, ...one })),
  )
  const gaps = devices.filter(device => device.seqs.missing.size + tail(device) > 0)
  const idsBack = ledger.accounts.flatMap(findIdsBack)
  const pairs = [...ledger.pairs.values()]
  return {
    sent: pairs.reduce((total, pair) => total + pair.sent, 0),
    acknowledged: pairs.reduce((total, pair) => total + pair.acknowledged, 0),
    delivered: sum(device => device.delivered),
    duplicated: sum(device => device.duplicated),
    repeatedOnConnection: sum(device => device.repeatedOnConnection),
    lost: lost.size,
    reordered: late.length,
    gaps: sum(device => device.seqs.missing.size + tail(device)),
    corrupt: ledger.corrupt.length,
    idsBack: idsBack.length,
    details: [
      ...[...lost].slice(0, MAX_DETAILS).map(([name, one]) => describeLost(name, one)),
      ...late
        .slice(0, MAX_DETAILS)
        .map(
          ({ device, pair, n, seq }) =>
            `reordered ${pair.name}:${n} (seq ${seq ?? pair.seqs[n] ?? '?'}) on ${device.name}`,
        ),
      ...gaps.slice(0, MAX_DETAILS).map(describeGaps),
      ...ledger.corrupt.slice(0, MAX_DETAILS).map(text => `corrupt ${text}`),
      ...idsBack.slice(0, MAX_DETAILS),
    ],
  }
}

interface Lost extends Missing {
  readonly devices: string[]
  readonly account: Account
}

function findLost(devices: readonly DeviceLog[]): ReadonlyMap<string, Lost> {
  const lost = new Map<string, Lost>()
  for (const device of devices) {
    for (const { pair, n } of missing(device)) {
      const name = `${pair.name}:${n}`
      const known = lost.get(name)
      if (known === undefined) lost.set(name, { pair, n, account: device.account, devices: [device.name] })
      else known.devices.push(device.name)
    }
  }
  return lost
}

function describeLost(name: string, { pair, n, account, devices }: Lost): string {
  const where = devices.length === account.devices.length ? 'every device' : devices.join(', ')
  const at = ((pair.acknowledgedAt[n] ?? 0) / 1000).toFixed(3)
  return `lost ${name} (seq ${pair.seqs[n] ?? '?'}, acknowledged at ${at} s) on ${where}`
}

function describeGaps(device: DeviceLog): string {
  const holes = [...device.seqs.missing].slice(0, 5).join(', ')
  const { first, last } = device.seqs
  return `gaps on ${device.name}: ${holes || 'none'} of ${first}..${last}, ${tail(device)} behind; inbox ends at ${device.account.lastSeq}`
}

/** Ids begin with the time (UUIDv7) and must never go back, whatever the clock does. @returns one line per violation */
function findIdsBack(account: Account): string[] {
  const found: string[] = []
  const last = new Map<Pair, string>()
  for (const [seq, { pair, n, id }] of [...account.rows].sort(([a], [b]) => a - b)) {
    const before = last.get(pair) ?? ''
    if (id <= before) found.push(`idsBack ${pair.name}:${n} (seq ${seq}) has id ${id}, behind ${before}`)
    last.set(pair, id)
  }
  return found
}
