/** Whether what one login let in may still be done: asked when it is taken up, and again right before it is stored. */
import type { Permissions, UserId } from '../core/model.js'
import type { Revocations } from './revocations.js'

/** Less than every mark: taken away. */
const ENDED = -1

export class LoginPermissions implements Permissions {
  /** While nobody tells it of revocations, since it has not come yet or has gone: from when on there must be none. */
  #unwatchedSince: number | undefined

  /** @param mark Revocations.mark of before the login was checked */
  constructor(
    private readonly revocations: Revocations,
    private readonly userId: UserId,
    mark: number,
  ) {
    this.#unwatchedSince = mark
  }

  get areRevoked(): boolean {
    const since = this.#unwatchedSince
    return since !== undefined && (since === ENDED || this.revocations.hasSince(this.userId, since))
  }

  /** Its connection is among the live ones from here on, so that `revoke` reaches it. @returns whether they are good */
  joined(): boolean {
    if (this.areRevoked) return false
    this.#unwatchedSince = undefined
    return true
  }

  /** Its connection is gone: what came before is still done, unless rights of the account are taken away meanwhile. */
  left(): void {
    this.#unwatchedSince ??= this.revocations.mark
  }

  revoke(): void {
    this.#unwatchedSince = ENDED
  }
}
