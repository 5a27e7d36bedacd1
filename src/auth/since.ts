/** A moment, and the revocations since. */
import { GatewayError } from '../core/errors.js'
import type { UserId } from '../core/model.js'
import { LoginPermissions } from './permissions.js'
import type { Revocations } from './revocations.js'

/** The moment at which a login, or other work that depends on an account's permissions, began. */
export class Since {
  readonly #count: number

  constructor(private readonly revocations: Revocations) {
    this.#count = revocations.count
  }

  /** @throws GatewayError ERROR_AUTH_FAILED (retry) if permissions of the account were revoked since then */
  check(userId: UserId): void {
    if (this.revocations.hasSince(userId, this.#count)) throw new GatewayError('ERROR_AUTH_FAILED')
  }

  /** The same of one who has come in neither by a device's credential nor by an app password: that one was replaced means nothing. */
  checkOwner(userId: UserId): void {
    if (this.revocations.hasSince(userId, this.#count, true)) throw new GatewayError('ERROR_AUTH_FAILED')
  }

  /** The permissions of a login that began then. @param isOwner as of `checkOwner` */
  permissions(userId: UserId, isOwner = false): LoginPermissions {
    return new LoginPermissions(this.revocations, userId, this.#count, isOwner)
  }
}
