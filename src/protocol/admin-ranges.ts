/** Ranges of numbers in requests of operators, apart from their schemas, so that commands check the same without loading those. */

/** Both ends are in it. */
export interface Range {
  readonly minimum: number
  readonly maximum: number
}

/** By request and field. */
export const RANGES = {
  'user.list': { limit: { minimum: 1, maximum: 1000 } },
  'invite.create': {
    uses: { minimum: 1, maximum: 1_000_000 },
    seconds: { minimum: 1, maximum: 1_000_000_000 },
  },
  'session.list': { limit: { minimum: 1, maximum: 10_000 } },
  'inbox.show': {
    messages: { minimum: 1, maximum: 1000 },
    after: { minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
  },
  drain: { spread: { minimum: 0, maximum: 3600 } },
} as const satisfies Readonly<Record<string, Readonly<Record<string, Range>>>>
