/** The one error class, and what makes other errors into it. */
import { CODES, type CodeName } from './codes.js'

export { CODES, type CodeName, isFixed, type Locale } from './codes.js'

/** `data` of a refusal: which field, and why; never the field's value. */
export interface ErrorInfo {
  readonly field?: string
  readonly reason?: string
}

/** A refusal of a known kind. Anything else that is thrown is a bug of ours, and the client is told ERROR (500). */
export class GatewayError extends Error {
  override readonly name = 'GatewayError'
  constructor(
    /** Name of its row in the table of codes. */
    readonly kind: CodeName,
    readonly info: ErrorInfo | null = null,
    override readonly cause?: unknown,
  ) {
    super(info?.reason ?? CODES[kind].en)
  }

  /** The number on the wire. */
  get number(): number {
    return CODES[this.kind].code
  }
}

/** @param thrown anything @param fallback the kind for what is no GatewayError; it becomes the cause */
export function toGatewayError(thrown: unknown, fallback: CodeName = 'ERROR'): GatewayError {
  return thrown instanceof GatewayError ? thrown : new GatewayError(fallback, null, thrown)
}

/** Some requests of the old protocol have a number of their own for a store that fails. @param name that kind */
export function nameStoreFault(thrown: unknown, name: CodeName): GatewayError {
  const error = toGatewayError(thrown, name)
  const isStoreFault = error.kind === 'STORE_UNAVAILABLE' || error.kind === 'STORE_FULL'
  return isStoreFault ? new GatewayError(name, null, error) : error
}
