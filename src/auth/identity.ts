/** Who is who: what this folder offers to those who serve requests. */
import type { AdminTokens } from './admin-tokens.js'
import type { Authenticator } from './authenticate.js'
import type { LoginLog } from './login-log.js'
import type { Logins } from './logins.js'
import type { Proofs } from './proofs.js'
import type { Passkeys } from './second-factor/passkeys.js'
import type { SecondFactors } from './second-factor/second-factors.js'

export interface Identity {
  readonly authenticator: Authenticator
  readonly logins: Logins
  readonly loginLog: LoginLog
  readonly proofs: Proofs
  readonly factors: SecondFactors
  readonly passkeys: Passkeys
  readonly adminTokens: AdminTokens
}
