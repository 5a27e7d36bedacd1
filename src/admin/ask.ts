/** Makes one request of the operator, by the door that all requests pass, and gives its reply. */
import { CODES, type CodeName, GatewayError, toGatewayError } from '../core/errors.js'
import type { Metrics } from '../core/metrics.js'
import type { Answer, Caller, Operator } from '../handle/context.js'
import { handle } from '../handle/index.js'
import { refuse } from '../handle/refuse.js'
import type { Services } from '../handle/services.js'
import { type AdminName, isAdminName, parseAdminRequest } from '../protocol/admin.js'

/** `code` and `msg` are those of docs/protocol.md, section 3. */
export interface AdminReply {
  readonly code: number
  readonly name: CodeName
  readonly msg: string
  readonly data: unknown
}

/** Who asks, and from which address; undefined by the admin socket. */
export interface Asker {
  readonly operator: Operator
  readonly remoteAddress: string | undefined
}

/** Who may open the socket is the operator: the system checks that (mode 0600). */
export const LOCAL: Asker = { operator: { name: undefined, role: 'local' }, remoteAddress: undefined }

const callerOf = ({ operator, remoteAddress }: Asker): Caller => ({
  operator,
  remoteAddress,
  userId: undefined,
  login: undefined,
  permissions: undefined,
  front: 'admin',
  locale: 'en',
  hasLeft: false,
  isGone: false,
  leave: () => undefined,
})

export interface Question {
  /** See protocol/admin.ts. */
  readonly name: string
  /** The fields as JSON text, or why they are not asked for. */
  readonly body: string | GatewayError
  readonly asker: Asker
}

/** Never rejects: what goes wrong is the reply. */
export async function askAdmin(
  services: Services,
  metrics: Pick<Metrics, 'answered'>,
  { name, body, asker }: Question,
): Promise<AdminReply> {
  const caller = callerOf(asker)
  let asked: AdminName | 'invalid' = 'invalid'
  const reply = await new Promise<AdminReply>(resolve => {
    const answer = answerBy(resolve)
    try {
      if (body instanceof GatewayError) throw body
      const request = parseAdminRequest(name, body)
      asked = request.name
      void handle(services, caller, request, answer)
    } catch (thrown) {
      recordRefusal(services, name, caller, toGatewayError(thrown))
      refuse(services.log, { request: 'invalid', caller, answer }, thrown)
    }
  })
  metrics.answered('admin', asked, reply.code)
  return reply
}

/** What is no request is in the audit, too. A name that is none may be anything, so it is left out. */
function recordRefusal(
  { audit }: Services,
  name: string,
  caller: Caller,
  { number: code }: GatewayError,
): void {
  const { front, remoteAddress, operator } = caller
  const request = isAdminName(name) && { request: name }
  audit.record({ event: 'admin.refused', ...request, front, remoteAddress, operator: operator?.name, code })
}

function answerBy(resolve: (reply: AdminReply) => void): Answer {
  const ok = (name: CodeName, data: unknown = null) => resolve(adminReply(name, data))
  const refused = ({ kind, info }: GatewayError) => resolve(adminReply(kind, info))
  return { ok, refuse: refused, failed: refused, stored: () => ok('MESSAGE_SUCCESS') }
}

export const adminReply = (name: CodeName, data: unknown = null): AdminReply => ({
  code: CODES[name].code,
  name,
  msg: CODES[name].en,
  data,
})
