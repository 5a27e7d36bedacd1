/** The one way to a refusal. */
import { outcomeOf } from '../auth/login-log.js'
import { CODES, toGatewayError } from '../core/errors.js'
import type { Logger } from '../core/log.js'
import type { AdminName } from '../protocol/admin.js'
import type { RequestName } from '../protocol/requests.js'
import type { Answer, Caller } from './context.js'

export interface Refused {
  readonly request: RequestName | AdminName | 'invalid'
  readonly caller: Caller
  readonly answer: Answer
}

/** Logs a refusal at the level of its code, never with a value of the request, then answers it. */
export function refuse(log: Logger, { request, caller, answer }: Refused, thrown: unknown): void {
  const error = toGatewayError(thrown)
  const { code, level } = CODES[error.kind]
  const { userId, remoteAddress } = caller
  const isLogin = request === 'login'
  const what = isLogin ? { front: caller.front, outcome: outcomeOf(error.kind) } : { request }
  const event = isLogin ? 'login.refused' : 'request.refused'
  const about = { event, ...what, userId, remoteAddress, code, ...error.info }
  log[level](error.cause === undefined ? about : { ...about, err: error.cause }, 'request refused')
  answer.refuse(error)
}
