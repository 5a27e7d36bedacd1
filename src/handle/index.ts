/** Request → handler, and the guard before it. */
import { toGatewayError } from '../errors.js'
import type { Request, RequestName } from '../request/schema.js'
import { handleDelete, handleLogin, handleRegister } from './account.js'
import type { Answer, Caller, Handler, Services } from './context.js'
import { handleAck, handleHistory } from './inbox.js'
import { handleBroadcast, handleMessage } from './message.js'
import { handleQuery } from './query.js'

type Table = { readonly [N in RequestName]: Handler<Extract<Request, { name: N }>['data']> }

const HANDLERS: Table = {
  register: handleRegister,
  login: handleLogin,
  query: handleQuery,
  delete: handleDelete,
  ack: handleAck,
  history: handleHistory,
  message: handleMessage,
  broadcast: handleBroadcast,
}

/**
 * Runs one request. Never throws: what goes wrong becomes the answer.
 * @returns a promise where the connection's next request must wait for this one
 */
export function handle(
  services: Services,
  caller: Caller,
  request: Request,
  answer: Answer,
): Promise<void> | undefined {
  const refuse = (thrown: unknown) => {
    const error = toGatewayError(thrown)
    if (error.code === 'ERROR') {
      services.log.error(
        { event: 'request.failed', request: request.name, err: error.cause },
        'request failed',
      )
    }
    answer.refuse(error)
  }
  try {
    // The table's types pair each name with its data; TypeScript cannot follow that through an index.
    const handler = HANDLERS[request.name] as Handler<Request['data']>
    return handler(services, caller, request, answer)?.catch(refuse)
  } catch (thrown) {
    refuse(thrown)
    return undefined
  }
}
