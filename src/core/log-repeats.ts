/** Repeated refusals and faults: the first line is written, further ones are counted and become one line per window. */

/** Most kinds of lines that are told apart in one window. Further ones are counted by their event alone. */
const MAX_KINDS = 1000
/** Events that a client or a broken disk can cause at any rate. */
const REPEATABLE = /\.(refused|failed|stalled|dropped|unknown)$/

type Line = (about: object, message: string) => void

interface Kind {
  count: number
  /** Writes the first line again, with the field `repeats`. */
  write: (count: number) => void
}

export class LogRepeats {
  readonly #kinds = new Map<string, Kind>()
  #timer: NodeJS.Timeout | undefined

  /** @param windowMs how long lines are counted, ms; 0 = every line is written */
  constructor(private readonly windowMs: number) {}

  /** @param write writes the line later @returns whether the caller is to write the line now */
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

  /** Writes one line for each kind that was counted, and forgets kinds that did not repeat. */
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

/** Lines with the same event and the same values of these fields are of one kind. */
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
