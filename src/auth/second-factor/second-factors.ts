/**
 * The second factor of accounts that want one: codes of an authenticator app (RFC 6238), and recovery codes for whoever has lost
 * it. It is kept with the account, where all gateways of a database find it, and changed by compare and set: a code is good once,
 * whoever else asks at the same time.
 */
import { GatewayError } from '../../core/errors.js'
import type { UserId } from '../../core/model.js'
import { asMeant, randomCode } from '../../core/typed-code.js'
import { KeyedSerial } from '../../flow/serial.js'
import type { Users } from '../../store/store.js'
import { digest, isSame } from '../secrets.js'
import { type Factor, readFactor, writeFactor } from './record.js'
import { isTotpCode, newTotpSecret, totpStep, totpUri } from './totp.js'

export interface FactorState {
  /** Since when it is on, ms since the epoch; undefined: it is off. */
  readonly since: number | undefined
  /** Recovery codes that are left. */
  readonly recoveryCodes: number
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

/** Others that change the same account's at the same moment. */
const MAX_RACES = 50

const wrongCode = () => new GatewayError('ERROR_AUTH', { field: 'code', reason: 'is wrong, or was used' })

/** What a change leaves, and what comes of it. */
interface Changed<T> {
  readonly factor: Factor
  readonly result: T
}

const nothingToGiveBack = async () => undefined

/** Every method may throw GatewayError STORE_UNAVAILABLE, and what changes something STORE_FULL. */
export class SecondFactors {
  /** Changes of one account, one at a time in this process. */
  readonly #turns = new KeyedSerial()

  constructor(private readonly users: Pick<Users, 'findFactor' | 'replaceFactor'>) {}

  async state(userId: UserId): Promise<FactorState> {
    const { totp, recovery = [] } = readFactor(await this.users.findFactor(userId))
    return { since: totp?.since, recoveryCodes: totp === undefined ? 0 : recovery.length }
  }

  /**
   * Asks for the code of somebody who has told the right password, and uses it up.
   * @param code of the app, or a recovery code
   * @throws GatewayError SECOND_FACTOR_REQUIRED if it is missing, ERROR_AUTH {field: 'code'} if it is wrong, TOO_MANY_ATTEMPTS
   */
  async check(userId: UserId, code: string | undefined, now = Date.now()): Promise<Passed> {
    const text = await this.users.findFactor(userId)
    if (readFactor(text).totp === undefined) return { by: 'off', giveBack: nothingToGiveBack }
    if (code === undefined || code === '')
      throw new GatewayError('SECOND_FACTOR_REQUIRED', { field: 'code', reason: 'is missing' })
    const { before, after, by } = await this.#change(userId, before => {
      const { factor, result } = judge(before, code, now)
      return { factor, result: { before: writeFactor(before), after: writeFactor(factor), by: result } }
    })
    if (by instanceof GatewayError) throw by
    const giveBack = async () => {
      await this.#turns.run(userId, () => this.users.replaceFactor(userId, after, before))
    }
    return { by, giveBack }
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
    await this.#change(userId, factor => {
      check()
      return { factor: { ...factor, pending: { secret, until: Date.now() + PENDING_MS } }, result: undefined }
    })
    return { secret, uri: totpUri(secret, account) }
  }

  /**
   * Switches it on, in place of what was on before.
   * @param secret as `begin` gave it: it shows that this is who asked for it
   * @returns the recovery codes, which nobody can tell later
   * @throws GatewayError ERROR_AUTH {field: 'secret' | 'code'}
   */
  async confirm(userId: UserId, secret: string, code: string, now = Date.now()): Promise<string[]> {
    const codes = newRecoveryCodes()
    await this.#change(userId, ({ pending }) => {
      if (pending === undefined || pending.until <= now || !isSame(digest(pending.secret), digest(secret)))
        throw new GatewayError('ERROR_AUTH', { field: 'secret', reason: 'is wrong, or has expired' })
      const step = isTotpCode(code) ? totpStep(secret, code, 0, now) : undefined
      if (step === undefined) throw wrongCode()
      const totp = { secret, lastStep: step, since: now }
      return { factor: { totp, recovery: codes.map(digestOf) }, result: undefined }
    })
    return codes
  }

  /** In place of those before. @returns see `confirm` @throws GatewayError BAD_FIELD if there is no second factor */
  async renewRecoveryCodes(userId: UserId): Promise<string[]> {
    const codes = newRecoveryCodes()
    await this.#change(userId, factor => {
      if (factor.totp === undefined) throw new GatewayError('BAD_FIELD', { reason: 'no second factor is on' })
      return { factor: { ...factor, recovery: codes.map(digestOf) }, result: undefined }
    })
    return codes
  }

  /** @returns whether it was on */
  remove(userId: UserId): Promise<boolean> {
    return this.#change(userId, ({ totp }) => ({ factor: {}, result: totp !== undefined }))
  }

  /**
   * Call it when the password has changed: whoever asked for a secret may have been somebody else who knew the one before. Wrong
   * codes still count: whoever guesses may also be who set the password, as often as he likes.
   */
  async passwordChanged(userId: UserId): Promise<void> {
    await this.#change(userId, ({ pending: _, ...factor }) => ({ factor, result: undefined }))
  }

  /**
   * Reads, changes and writes, and does all of it again where another gateway has written in between.
   * @param work throws where nothing is to be changed
   */
  #change<T>(userId: UserId, work: (factor: Factor) => Changed<T>): Promise<T> {
    return this.#turns.run(userId, async () => {
      for (let race = 0; race < MAX_RACES; race++) {
        const before = await this.users.findFactor(userId)
        const { factor, result } = work(readFactor(before))
        const after = writeFactor(factor)
        if (after === before || (await this.users.replaceFactor(userId, before, after))) return result
      }
      throw new GatewayError('ERROR_AUTH_FAILED', { reason: 'changed by others at the same time' })
    })
  }
}

/** A wrong code is a change, too: it counts. */
function judge(factor: Factor, code: string, now: number): Changed<By | GatewayError> {
  const { totp, recovery = [], wrong } = factor
  // Switched off meanwhile.
  if (totp === undefined) return { factor, result: 'off' }
  // Nobody guesses a recovery code: with one the owner gets in while somebody else tries codes.
  if (!isTotpCode(code)) {
    const hash = digestOf(code)
    const left = recovery.filter(one => !isSame(one, hash))
    if (left.length === recovery.length) return { factor, result: wrongCode() }
    return { factor: { totp, recovery: left }, result: 'recovery' }
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
  return { factor: { totp: { ...totp, lastStep: step }, recovery }, result: 'totp' }
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
