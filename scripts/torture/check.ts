/** What the ledger says at the end: which promise was broken, for which message, on which device. */
import type { Account, DeviceLog, LateArrival, Ledger, Pair } from './ledger.js'

export interface Findings {
  readonly sent: number
  readonly acknowledged: number
  readonly delivered: number
  readonly duplicated: number
  readonly repeatedOnConnection: number
  /** Acknowledged, and missing on at least one device. */
  readonly lost: number
  /** Arrivals behind a later message, the first time. */
  readonly reordered: number
  /** Numbers of an inbox that a device was never sent. */
  readonly gaps: number
  readonly corrupt: number
  /** Messages of one sender with an id that is not above that of the one before. */
  readonly idsBack: number
  /** One line a finding, a few of each kind. */
  readonly details: readonly string[]
}

interface Missing {
  readonly pair: Pair
  readonly n: number
}

/** Lines of each kind in the report. */
const MAX_DETAILS = 10

/** Acknowledged messages that the device should have and has not. */
export function* missing(device: DeviceLog): Generator<Missing> {
  for (const pair of device.account.pairs) {
    const got = device.byPair.get(pair)
    const from = device.sentBefore?.get(pair) ?? 0
    const last = pair.acknowledgedAt.length - 1
    if (got?.first !== undefined && got.first <= from && got.last >= last && got.missing.size === 0) continue
    for (let n = Math.min(from, got?.first ?? from); n <= last; n++) {
      if (pair.acknowledgedAt[n] === undefined || got?.has(n)) continue
      // What stood in the inbox before the device's first message was for older devices only.
      if (n >= from || (pair.seqs[n] ?? 0) >= (device.seqs.first ?? Infinity)) yield { pair, n }
    }
  }
}

/** Whether there is something that the device has not got yet. */
export function isBehind(device: DeviceLog): boolean {
  return tail(device) > 0 || missing(device).next().done !== true
}

/** Rows of the inbox behind the last that the device got. */
function tail({ hasSeq, seqs, account, sentBefore }: DeviceLog): number {
  // Of a device that got nothing it is not known where it begins: `missing` decides.
  if (!hasSeq || sentBefore === undefined || seqs.first === undefined) return 0
  return Math.max(0, account.lastSeq - seqs.last)
}

/** A resend of what was stored before the device began is no reordering for it. */
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

/** Ids have the time in front (UUIDv7), and never go back, whatever the clock does. @returns a line each */
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
