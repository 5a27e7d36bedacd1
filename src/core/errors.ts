/** The one error class, and the conversion of other errors to it. */
import { CODES, type CodeName } from './codes.js'

export { CODES, type CodeName, isFixed, type Locale } from './codes.js'

/** `data` of a refusal: the name of the field and the reason. It never holds the field's value. */
export interface ErrorInfo {
  readonly field?: string
  readonly reason?: string
}

/** A refusal of a known kind. Anything else that is thrown is a bug, and the client gets ERROR (500). */
export class GatewayError extends Error {
  override readonly name = 'GatewayError'
  constructor(
    /** Name of the row in the table of codes. */
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

/** A refusal of which it is known when the same request may succeed. */
export class RefusedUntil extends GatewayError {
  constructor(
    kind: CodeName,
    info: ErrorInfo,
    /** From now. */
    readonly seconds: number,
  ) {
    super(kind, info)
  }
}

/** Default of `Retry-After`, s. */
const RETRY_SECONDS = 10

/** `Retry-After` (RFC 9110, 10.2.3), s. */
export const retryAfter = (error: GatewayError): number =>
  error instanceof RefusedUntil ? error.seconds : RETRY_SECONDS

/**
 * @param thrown anything
 * @param fallback the kind of the result if `thrown` is not a GatewayError; `thrown` becomes its cause
 */
export function toGatewayError(thrown: unknown, fallback: CodeName = 'ERROR'): GatewayError {
  return thrown instanceof GatewayError ? thrown : new GatewayError(fallback, null, thrown)
}

/**
 * Gives a store fault the number that the old protocol has for it in some requests. Other errors are returned as they
 * are.
 * @param name the kind that replaces STORE_UNAVAILABLE and STORE_FULL, and that unknown errors get
 */
export function nameStoreFault(thrown: unknown, name: CodeName): GatewayError {
  const error = toGatewayError(thrown, name)
  const isStoreFault = error.kind === 'STORE_UNAVAILABLE' || error.kind === 'STORE_FULL'
  return isStoreFault ? new GatewayError(name, null, error) : error
}
