/** What an account has for a second factor, as the store keeps it: one text, so that it is replaced as a whole. */

/** A passkey (WebAuthn) as the store keeps it. Times are ms since the epoch. */
export interface Passkey {
  /** Of the credential, base64url. */
  readonly id: string
  /** COSE key, base64url. */
  readonly publicKey: string
  /** Of its last use, as the authenticator counts; most passkeys that are synchronised always say 0. */
  readonly counter: number
  readonly name: string
  readonly createdAt: number
}

/** Times are ms since the epoch. */
export interface Factor {
  /** Absent: the second factor is off. */
  readonly totp?: {
    readonly secret: string
    /** Of the last code that was good, see totpStep. */
    readonly lastStep: number
    readonly since: number
  }
  /** One that was shown, and is not switched on yet. */
  readonly pending?: { readonly secret: string; readonly until: number }
  /** Digests of recovery codes that were not used. */
  readonly recovery?: readonly string[]
  /** Wrong codes since the last right one, and until when no further one is looked at. */
  readonly wrong?: { readonly count: number; readonly until: number }
  /** Oldest first; never empty. */
  readonly passkeys?: readonly Passkey[]
  /** The challenge of a passkey that is being made. */
  readonly asked?: { readonly challenge: string; readonly until: number }
}

/** @param text undefined: the account has none */
export const readFactor = (text: string | undefined): Factor =>
  text === undefined ? {} : (JSON.parse(text) as Factor)

/** @returns undefined if there is nothing to keep */
export function writeFactor(factor: Factor): string | undefined {
  const text = JSON.stringify(factor)
  return text === '{}' ? undefined : text
}
