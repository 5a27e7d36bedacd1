/** Takes what handlers want to have written. */
import { createHash, randomInt } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Accounts } from '../accounts/accounts.js'
import type { Logger } from '../core/log.js'
import type { User } from '../core/model.js'
import { Serial } from '../flow/serial.js'
import type { Letter, LetterKind } from './letter.js'
import type { Outbox } from './outbox.js'

export interface PostOfficeParts {
  readonly accounts: Pick<Accounts, 'find' | 'findByName'>
  readonly outbox: Pick<Outbox, 'put'>
  /** Counts a letter to an address. @returns false if it got enough within the hour */
  readonly mayMail: (addressKey: string) => boolean
  /** Counts news of one kind to an address. @returns false if it got such within the hour */
  readonly mayTell: (key: string) => boolean
  /** Whether an address that nobody has confirmed gets news: where none has to be confirmed. */
  readonly isUnverifiedTold: () => boolean
  readonly log: Logger
}

const HOUR = 3_600_000

/** Most askings whose account is not looked for yet. */
const MAX_ASKED = 1000

/**
 * When the account is looked for, ms after the answer. The work takes a fraction of a millisecond more where there is one, which
 * whoever asked would see in the time of the answer, or of the next one, if it was done at once or after a fixed time.
 */
const LOOK_AFTER_MS = { min: 20, max: 120 }

export class PostOffice {
  readonly #asked = new Serial()
  #open = 0

  constructor(private readonly parts: PostOfficeParts) {}

  /**
   * For somebody who may be a stranger: returns at once and says nothing, so that the answer, and when it comes, is the same
   * whether or not there is such an account. Everything that depends on that is done later.
   * @param login email or user id
   */
  ask(login: string, kind: LetterKind): void {
    if (this.#open >= MAX_ASKED) {
      this.parts.log.warn({ event: 'mail.dropped', kind }, 'letter dropped: too many are asked for')
      return
    }
    this.#open++
    const wait = delay(randomInt(LOOK_AFTER_MS.min, LOOK_AFTER_MS.max))
    void this.#asked.run(() => wait.then(() => this.#look(login, kind))).finally(() => this.#open--)
  }

  /** To the account's owner, or to another address. Resolves when the letter is stored. @throws as Outbox.put */
  async send(user: User, letter: Letter): Promise<void> {
    const { log, mayMail, outbox } = this.parts
    if (mayMail(keyOf(letter.to ?? user.email))) await outbox.put(letter)
    else
      log.info(
        { event: 'mail.dropped', kind: letter.kind },
        'letter dropped: its recipient got enough of them',
      )
  }

  /** The same without a limit, for an operator. */
  put(letter: Letter): Promise<void> {
    return this.parts.outbox.put(letter)
  }

  /**
   * News of what was done, to the address that the account has now: a thief's change of it sends none to him. Each kind is told at
   * once or, where it was told within the hour, an hour later, all of it in one letter: the owner hears of a thief's acts, too, and
   * whoever registers with somebody else's address fills no mailbox. Nobody waits for it.
   */
  tell(letter: Letter): void {
    // Now, since letters that were asked for are in front of it: the address may be another one when its turn comes.
    const owner = this.parts.accounts.find(letter.userId)
    owner.catch(() => undefined)
    void this.#asked.run(() => this.#logged(letter.kind, () => this.#tell(letter, owner)))
  }

  /** Resolves when all letters so far are in the outbox. */
  async idle(): Promise<void> {
    await this.#asked.idle()
  }

  async #tell(letter: Letter, owner: Promise<User | undefined>): Promise<void> {
    const { isUnverifiedTold, mayTell, outbox } = this.parts
    // Changes of the address that can be taken back are few.
    if (letter.kind === 'email-changed') return outbox.put(letter)
    const user = await owner
    if (user === undefined || (user.verifiedAt === undefined && !isUnverifiedTold())) return
    const mayNow = mayTell(`${letter.kind} ${keyOf(user.email)}`)
    await outbox.put({ ...letter, to: user.email }, mayNow ? 0 : HOUR)
  }

  #look(login: string, kind: LetterKind): Promise<void> {
    return this.#logged(kind, async () => {
      const user = await this.parts.accounts.findByName(login)
      if (user !== undefined) await this.send(user, { kind, userId: user.id })
    })
  }

  /** Never rejects. */
  async #logged(kind: LetterKind, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (err) {
      this.parts.log.error({ event: 'mail.failed', kind, err }, 'letter not stored')
    }
  }
}

/** By a hash: memory has no list of addresses. */
const keyOf = (email: string): string => createHash('sha256').update(email.toLowerCase()).digest('base64url')
