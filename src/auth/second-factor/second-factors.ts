/**
 * The second factor of accounts that want one: codes of an authenticator app (RFC 6238), and recovery codes for whoever has lost
 * it. It is kept with the account, where all gateways of a database find it, and changed by compare and set: a code is good once,
 * whoever else asks at the same time.
 */
import { GatewayError } from '../../core/errors.js'
import type { UserId } from '../../core/model.js'
import { asMeant, randomCode } from '../../core/typed-code.js'
import { digest, isSame } from '../secrets.js'
import type { Factor, Passkey } from './record.js'
import { type Changed, FactorRows, type FactorStore } from './rows.js'
import { isTotpCode, newTotpSecret, totpStep, totpUri } from './totp.js'

export interface FactorState {
  /** Since when it is on, ms since the epoch; undefined: it is off. */
  readonly since: number | undefined
  /** Recovery codes that are left. */
  readonly recoveryCodes: number
  readonly passkeys: readonly Passkey[]
}

/** What was asked for a code, and has passed. */
export interface Passed {
  /** `off`: there is no second factor. */
  readonly by: By
  /** Makes the code good again: it let nobody in. Does nothing where the factor was changed meanwhile. */
  readonly giveBack: () => Promise<void>
}

type By = 'off' | 'totp' | 'recovery'

const RECOVERY_CODES = 10
/** 80 bits: whoever reads the digests tries no such number. */
const RECOVERY_CHARS = 16

/** How long a secret may wait for its first code, ms. */
const PENDING_MS = 900_000

/**
 * Three of a million codes are good at a time. Whoever knows the password may try some, from any number of addresses, and then
 * one after half a minute, a minute, … at last one a day: in a year one such guesser of a thousand finds a code.
 */
const FREE_GUESSES = 10
const FIRST_WAIT_MS = 30_000
const LONGEST_WAIT_MS = 86_400_000

const wrongCode = () => new GatewayError('ERROR_AUTH', { field: 'code', reason: 'is wrong, or was used' })

const nothingToGiveBack = async () => undefined

/** Every method may throw GatewayError STORE_UNAVAILABLE, and what changes something STORE_FULL. */
export class SecondFactors {
  readonly #rows: FactorRows

  constructor(users: FactorStore) {
    this.#rows = new FactorRows(users)
  }

  async state(userId: UserId): Promise<FactorState> {
    const { totp, recovery = [], passkeys = [] } = await this.#rows.read(userId)
    return { since: totp?.since, recoveryCodes: totp === undefined ? 0 : recovery.length, passkeys }
  }

  /**
   * Asks for the code of somebody who has told the right password, and uses it up.
   * @param code of the app, or a recovery code
   * @throws GatewayError SECOND_FACTOR_REQUIRED if it is missing, ERROR_AUTH {field: 'code'} if it is wrong, TOO_MANY_ATTEMPTS
   */
  async check(userId: UserId, code: string | undefined, now = Date.now()): Promise<Passed> {
    if ((await this.#rows.read(userId)).totp === undefined) return { by: 'off', giveBack: nothingToGiveBack }
    if (code === undefined || code === '')
      throw new GatewayError('SECOND_FACTOR_REQUIRED', { field: 'code', reason: 'is missing' })
    const { before, after, by } = await this.#rows.change(userId, before => {
      const { factor, result } = judge(before, code, now)
      return { factor, result: { before, after: factor, by: result } }
    })
    if (by instanceof GatewayError) throw by
    return { by, giveBack: () => this.#rows.takeBack(userId, after, before) }
  }

  /**
   * Makes a secret for an app. Nothing is switched on before its first code comes, and what was on stays so.
   * @param account what the app shows with its codes
   * @param check called in the turn in which it is stored; throws if rights were revoked meanwhile
   */
  async begin(
    userId: UserId,
    account: string,
    check: () => void,
  ): Promise<{ readonly secret: string; readonly uri: string }> {
    const secret = newTotpSecret()
    await this.#rows.change(userId, factor => {
      check()
      return { factor: { ...factor, pending: { secret, until: Date.now() + PENDING_MS } }, result: undefined }
    })
    return { secret, uri: totpUri(secret, account) }
  }

  /**
   * Switches it on, in place of what was on before. Passkeys that were made without a code end.
   * @param secret as `begin` gave it: it shows that this is who asked for it
   * @returns the recovery codes, which nobody can tell later
   * @throws GatewayError ERROR_AUTH {field: 'secret' | 'code'}
   */
  async confirm(userId: UserId, secret: string, code: string, now = Date.now()): Promise<string[]> {
    const codes = newRecoveryCodes()
    await this.#rows.change(userId, ({ pending, totp: before, passkeys }) => {
      if (pending === undefined || pending.until <= now || !isSame(digest(pending.secret), digest(secret)))
        throw new GatewayError('ERROR_AUTH', { field: 'secret', reason: 'is wrong, or has expired' })
      const step = isTotpCode(code) ? totpStep(secret, code, 0, now) : undefined
      if (step === undefined) throw wrongCode()
      const totp = { secret, lastStep: step, since: now }
      const kept = before !== undefined && passkeys !== undefined && { passkeys }
      return { factor: { totp, recovery: codes.map(digestOf), ...kept }, result: undefined }
    })
    return codes
  }

  /** In place of those before. @returns see `confirm` @throws GatewayError BAD_FIELD if there is no second factor */
  async renewRecoveryCodes(userId: UserId): Promise<string[]> {
    const codes = newRecoveryCodes()
    await this.#rows.change(userId, factor => {
      if (factor.totp === undefined) throw new GatewayError('BAD_FIELD', { reason: 'no second factor is on' })
      return { factor: { ...factor, recovery: codes.map(digestOf) }, result: undefined }
    })
    return codes
  }

  /** Passkeys stay. @returns whether it was on */
  remove(userId: UserId): Promise<boolean> {
    return this.#rows.change(userId, ({ totp, passkeys }) => ({
      factor: passkeys === undefined ? {} : { passkeys },
      result: totp !== undefined,
    }))
  }

  /** With the passkeys. @returns whether there was anything */
  removeAll(userId: UserId): Promise<boolean> {
    return this.#rows.change(userId, ({ totp, passkeys }) => ({
      factor: {},
      result: totp !== undefined || passkeys !== undefined,
    }))
  }

  /**
   * Call it when the password has changed: whoever asked for a secret or made a passkey may have been somebody else who knew the
   * one before. Wrong codes still count: whoever guesses may also be who set the password, as often as he likes.
   */
  async passwordChanged(userId: UserId): Promise<void> {
    await this.#rows.change(userId, ({ pending: _, passkeys: _passkeys, asked: _asked, ...factor }) => ({
      factor,
      result: undefined,
    }))
  }
}

/** A wrong code is a change, too: it counts. */
function judge(factor: Factor, code: string, now: number): Changed<By | GatewayError> {
  const { totp, recovery = [], wrong, pending: _, ...kept } = factor
  // Switched off meanwhile.
  if (totp === undefined) return { factor, result: 'off' }
  // Nobody guesses a recovery code: with one the owner gets in while somebody else tries codes.
  if (!isTotpCode(code)) {
    const hash = digestOf(code)
    const left = recovery.filter(one => !isSame(one, hash))
    if (left.length === recovery.length) return { factor, result: wrongCode() }
    return { factor: { ...kept, totp, recovery: left }, result: 'recovery' }
  }
  const waitMs = (wrong?.until ?? 0) - now
  // A clock that was set back makes nobody wait for longer than the longest time.
  if (waitMs > 0 && waitMs <= LONGEST_WAIT_MS) {
    const reason = `wait ${Math.ceil(waitMs / 1000)} s, or use a recovery code`
    return { factor, result: new GatewayError('TOO_MANY_ATTEMPTS', { field: 'code', reason }) }
  }
  const step = totpStep(totp.secret, code, totp.lastStep, now)
  if (step === undefined)
    return { factor: { ...factor, wrong: oneMore(wrong?.count ?? 0, now) }, result: wrongCode() }
  return { factor: { ...kept, totp: { ...totp, lastStep: step }, recovery }, result: 'totp' }
}

function oneMore(before: number, now: number): NonNullable<Factor['wrong']> {
  const count = before + 1
  const doublings = Math.min(count - FREE_GUESSES, 20)
  const until = doublings < 0 ? 0 : now + Math.min(FIRST_WAIT_MS * 2 ** doublings, LONGEST_WAIT_MS)
  return { count, until }
}

/** `XXXX-XXXX-XXXX-XXXX` */
const newRecoveryCodes = (): string[] =>
  Array.from({ length: RECOVERY_CODES }, () => randomCode(RECOVERY_CHARS).replace(/.{4}(?=.)/g, '$&-'))

/** As it is typed: in either case, with or without hyphens and spaces. */
const digestOf = (code: string): string => digest(asMeant(code).replace(/[\s-]/g, ''))
