import type { LoginPermissions } from '../auth/permissions.js'
import type { Login, UserId } from '../core/model.js'
import type { Grantee } from './acl/access.js'

/** The logged-in user of a connection, and what the login allows. */
export interface Identity {
  readonly userId: UserId
  readonly login: Login
  readonly permissions: LoginPermissions
  /** With the client id as the client sent it. */
  readonly grantee: Grantee
}
