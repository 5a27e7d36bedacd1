/** Makes one request of the operator, by the door that all requests pass, and gives its reply. */
import { CODES, type CodeName, type GatewayError } from '../core/errors.js'
import type { Metrics } from '../core/metrics.js'
import type { Answer, Caller } from '../handle/context.js'
import { handle } from '../handle/index.js'
import { refuse } from '../handle/refuse.js'
import type { Services } from '../handle/services.js'
import { type AdminName, parseAdminRequest } from '../protocol/admin.js'

/** `code` and `msg` are those of docs/protocol.md, section 3. */
export interface AdminReply {
  readonly code: number
  readonly name: CodeName
  readonly msg: string
  readonly data: unknown
}

/** Who may open the socket is the operator: the system checks that (mode 0600). */
const OPERATOR: Caller = Object.freeze({
  userId: undefined,
  login: undefined,
  permissions: undefined,
  front: 'admin',
  locale: 'en',
  remoteAddress: undefined,
  hasLeft: false,
  isGone: false,
  leave: () => undefined,
})

/** @param body the fields as JSON text. Never rejects: what goes wrong is the reply */
export async function askAdmin(
  services: Services,
  metrics: Pick<Metrics, 'answered'>,
  name: string,
  body: string,
): Promise<AdminReply> {
  let asked: AdminName | 'invalid' = 'invalid'
  const reply = await new Promise<AdminReply>(resolve => {
    const answer = answerBy(resolve)
    try {
      const request = parseAdminRequest(name, body)
      asked = request.name
      void handle(services, OPERATOR, request, answer)
    } catch (thrown) {
      refuse(services.log, { request: 'invalid', caller: OPERATOR, answer }, thrown)
    }
  })
  metrics.answered('admin', asked, reply.code)
  return reply
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
