/** Takes accounts of the old MumiChat server. */
import { GatewayError } from '../core/errors.js'
import type { User } from '../core/model.js'
import type { Users } from '../store/store.js'
import { addressOf } from './email.js'
import type { Passwords } from './passwords.js'
import type { UserNames } from './user-names.js'

export interface OldUser
  extends Pick<User, 'id' | 'email' | 'username' | 'firstName' | 'lastName' | 'profileImage' | 'key'> {
  /** As the old server stored it; '' = no password, and none is right. */
  readonly passwordHash: string
}

export class MovingIn {
  constructor(
    private readonly users: Users,
    private readonly passwords: Passwords,
    private readonly names?: Pick<UserNames, 'adopt'>,
  ) {}

  /**
   * Makes the account with the id that it had.
   * @param isDry only says what would be done; that the id was that of a deleted account is not known then
   * @returns whether it was not there yet
   * @throws GatewayError BAD_FIELD (email); ERROR_EXIST_USER (id, email, username) if another account has it
   */
  async take({ passwordHash, ...old }: OldUser, isDry: boolean): Promise<boolean> {
    const { emailKey } = addressOf(old.email)
    if (await this.#isThere(old, emailKey)) return false
    if (isDry) return true
    const hash = await this.passwords.hashOld(passwordHash)
    try {
      await this.users.createUser({ ...old, emailKey, createdAt: Date.now(), passwordHash: hash })
      await this.names?.adopt(old)
      return true
    } catch (thrown) {
      // While this one hashed, another import may have taken it.
      const isTaken = thrown instanceof GatewayError && thrown.kind === 'ERROR_EXIST_USER'
      if (isTaken && (await this.#isThere(old, emailKey))) return false
      throw thrown
    }
  }

  /** Asked before anything is hashed; the store decides. */
  async #isThere({ id, username }: Omit<OldUser, 'passwordHash'>, emailKey: string): Promise<boolean> {
    const own = await this.users.findUser(id)
    if (own?.emailKey === emailKey) return true
    if (own !== undefined) throw taken('id')
    if ((await this.users.findUserByEmail(emailKey)) !== undefined) throw taken('email')
    if (username !== '' && (await this.users.findUsers({ username }, 1)).length > 0) throw taken('username')
    return false
  }
}

const taken = (field: string) =>
  new GatewayError('ERROR_EXIST_USER', { field, reason: 'another account has it' })
