/** What all acts of operators have in common: each asks for a role, and is in the audit, whether it was done or refused. */
import type { AuditEntry, AuditEvent } from '../../core/audit.js'
import { GatewayError, toGatewayError } from '../../core/errors.js'
import { isUserId, type User } from '../../core/model.js'
import type { AdminData, AdminName } from '../../protocol/admin.js'
import type { Caller, Handler, Operator } from '../context.js'
import type { Services } from '../services.js'
import { checkRole } from './roles.js'

/** What an act has done. */
export interface Done {
  /** `data` of the reply. */
  readonly data: unknown
  /** For the audit. */
  readonly about?: Partial<AuditEntry>
}

export type Act<D> = (services: Services, data: D, caller: Caller) => Promise<Done>

export interface AdminEntry<D> {
  readonly access: 'operator'
  readonly run: Handler<D>
}

/** A caller without a role: the door lets in none (handle/index.ts). */
const NOBODY: Operator = { name: undefined, role: undefined }

/**
 * The row of an act in the table of requests.
 * @param event of its line in the audit; undefined if `run` writes that itself
 */
export function act<N extends AdminName>(
  name: N,
  event: AuditEvent | undefined,
  run: Act<AdminData<N>>,
): AdminEntry<AdminData<N>> {
  return {
    access: 'operator',
    run: async (services, caller, { data }, answer) => {
      const { audit } = services
      const { front, operator = NOBODY, remoteAddress } = caller
      const by = { front, remoteAddress, operator: operator.name }
      try {
        checkRole(name, data, operator)
        const done = await run(services, data, caller)
        if (event !== undefined) audit.record({ event, ...done.about, ...by })
        answer.ok('SUCCESS', done.data)
      } catch (thrown) {
        audit.record({ event: 'admin.refused', request: name, ...by, code: toGatewayError(thrown).number })
        throw thrown
      }
    },
  }
}

/** @param name id, email or user name @throws GatewayError ERROR_FIND_USER */
export async function findAccount({ accounts }: Services, name: string): Promise<User> {
  // Not by `findByName` alone: accounts from before may have names that are no user names today.
  const isAddress = isUserId(name) || name.includes('@')
  const [user] = isAddress ? [await accounts.find(name)] : await accounts.query({ username: name }, 1)
  if (user === undefined) throw new GatewayError('ERROR_FIND_USER', { field: 'user', reason: 'no such user' })
  return user
}
