/** Refusals and faults that repeat: the first is a line, those behind it are counted, and become one line a window. */

/** Kinds told apart in one window; beyond it only the event tells. */
const MAX_KINDS = 1000
/** Events that a client, or a broken disk, can cause as often as it likes. */
const REPEATABLE = /\.(refused|failed|stalled|dropped|unknown)$/

type Line = (about: object, message: string) => void

interface Kind {
  count: number
  /** Writes a line as the last of its kind would have been. */
  write: (count: number) => void
}

export class LogRepeats {
  readonly #kinds = new Map<string, Kind>()
  #timer: NodeJS.Timeout | undefined

  /** @param windowMs how long lines are counted, ms; 0 = each is written */
  constructor(private readonly windowMs: number) {}

  /** @param write writes the line @returns whether it is to be written now */
  isFirst(about: unknown, message: unknown, write: Line): boolean {
    if (this.windowMs === 0) return true
    const key = keyOf(about)
    if (key === undefined) return true
    const known =
      this.#kinds.get(key.full) ?? (this.#kinds.size < MAX_KINDS ? undefined : this.#kinds.get(key.event))
    if (known === undefined) {
      const kept = this.#kinds.size < MAX_KINDS ? key.full : key.event
      this.#kinds.set(kept, {
        count: 0,
        write: count => write({ ...(about as object), repeats: count }, String(message)),
      })
      this.#timer ??= setInterval(() => this.flush(), this.windowMs).unref()
      return true
    }
    known.count++
    return false
  }

  /** Says what was counted. */
  flush(): void {
    for (const [key, kind] of this.#kinds) {
      const { count } = kind
      kind.count = 0
      if (count > 0) kind.write(count)
      else this.#kinds.delete(key)
    }
    if (this.#kinds.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}

/** What makes two lines the same. */
const NAMES = [
  'front',
  'operation',
  'where',
  'request',
  'reason',
  'clause',
  'code',
  'field',
  'limit',
  'userId',
  'remoteAddress',
] as const

function keyOf(about: unknown): { full: string; event: string } | undefined {
  if (typeof about !== 'object' || about === null) return undefined
  const fields = about as Record<string, unknown>
  const { event } = fields
  if (typeof event !== 'string' || !REPEATABLE.test(event)) return undefined
  const parts = NAMES.map(name => `${fields[name] ?? ''}`.slice(0, 128))
  return { full: `${event} ${parts.join(' ')}`, event }
}
