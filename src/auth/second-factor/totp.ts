/** Codes of authenticator apps: TOTP (RFC 6238) with what all of them take for granted, SHA-1, 6 digits and steps of 30 s. */
import { generateSecret, generateURI, verifySync } from 'otplib'

const STEP_SECONDS = 30
const ISSUER = 'MumiChat'

/** 160 bits, base32 (RFC 4226, 4: R6). */
export const newTotpSecret = (): string => generateSecret()

/** What an app reads as a QR code. @param account what the app shows with its codes */
export const totpUri = (secret: string, account: string): string =>
  generateURI({ issuer: ISSUER, label: account, secret })

/** Whether a text may be a code of an app; people type it with a blank in the middle, too. */
export const isTotpCode = (code: string): boolean => /^\d{3} ?\d{3}$/.test(code.trim())

/**
 * The clock of a phone may be a step before or behind ours (RFC 6238, 5.2).
 * @param lastStep the step of the last code that was good: that one and all before it are not any more
 * @returns the step of the code; undefined if it is wrong
 */
export function totpStep(
  secret: string,
  code: string,
  lastStep: number,
  now = Date.now(),
): number | undefined {
  const token = code.replace(/\s/g, '')
  const epoch = Math.floor(now / 1000)
  // A clock that was set back; otplib takes such a step for a mistake of its caller.
  if (lastStep > epoch / STEP_SECONDS + 1) return undefined
  const found = verifySync({
    ...{ secret, token, epoch, period: STEP_SECONDS },
    ...{ epochTolerance: STEP_SECONDS, afterTimeStep: lastStep },
  })
  return found.valid && 'timeStep' in found ? found.timeStep : undefined
}
