/** The permissions of one login. They are checked when work is accepted and again right before it is stored. */
import type { Permissions, UserId } from '../core/model.js'
import type { Revocations } from './revocations.js'

/** Lower than any count of revocations: the permissions are revoked. */
const ENDED = -1

export class LoginPermissions implements Permissions {
  /**
   * While the connection is not among the live ones: the count of revocations when the login was last known to be
   * valid, so that any later revocation of the account counts. undefined while the connection is live, where `revoke`
   * is called.
   */
  #unwatchedSince: number | undefined

  /** @param count Revocations.count, read before the login was checked @param isOwner see Revocations.hasSince */
  constructor(
    private readonly revocations: Revocations,
    private readonly userId: UserId,
    count: number,
    private readonly isOwner = false,
  ) {
    this.#unwatchedSince = count
  }

  get areRevoked(): boolean {
    const since = this.#unwatchedSince
    return (
      since !== undefined && (since === ENDED || this.revocations.hasSince(this.userId, since, this.isOwner))
    )
  }

  /**
   * Call it when the connection has joined the live ones, where `revoke` reaches it.
   * @returns false if already revoked
   */
  joined(): boolean {
    if (this.areRevoked) return false
    this.#unwatchedSince = undefined
    return true
  }

  /**
   * Call it when the connection has closed. What it sent before is still done, unless the account has a revocation
   * meanwhile.
   */
  left(): void {
    this.#unwatchedSince ??= this.revocations.count
  }

  revoke(): void {
    this.#unwatchedSince = ENDED
  }
}
