import type { LoginPermissions } from '../auth/permissions.js'
import { GatewayError } from '../core/errors.js'
import { historyEntry, type Links } from '../core/message.js'
import { admit, pairConversation } from '../core/model.js'
import { jsonDevice } from '../inbox/cursors.js'
import { PolledInbox } from '../inbox/polled.js'
import type { RequestData } from '../protocol/requests.js'
import type { Answer, Caller, Handler, LoggedIn } from './context.js'
import type { Services } from './services.js'

/** Messages of one reply, where the request does not say how many. */
const HISTORY_PAGE = 50

export const handleAck: Handler<RequestData<'ack'>, LoggedIn> = (services, caller, { data }, answer) => {
  if (caller.front === 'rest') return confirmPolled(services, caller, data.seq, answer)
  if (caller.target?.confirm(data.seq) !== true) {
    const reason = caller.target ? 'needs ack: explicit at login' : 'MQTT devices confirm by PUBACK'
    throw new GatewayError('FORBIDDEN', { field: 'action', reason })
  }
  answer.ok('SUCCESS')
}

/** The place of the device that the token is of, which it shares with a JSON connection of that device. */
function polledBy({ inbox }: Services, { userId, login, front }: Caller): PolledInbox {
  if (userId === undefined || login === undefined) throw new GatewayError('ERROR_UNAUTHORIZED')
  return new PolledInbox(inbox, userId, jsonDevice(login.device), front)
}

async function confirmPolled(
  services: Services,
  caller: LoggedIn,
  seq: number,
  answer: Answer,
): Promise<void> {
  answer.ok('SUCCESS', { confirmed: await polledBy(services, caller).confirm(seq) })
}

/** What a client has not confirmed, or what is behind `after`, oldest first. To others than those of REST it comes by itself. */
export const handleInbox: Handler<RequestData<'inbox'>, LoggedIn> = async (
  services,
  caller,
  { data },
  answer,
) => {
  if (caller.front !== 'rest')
    throw new GatewayError('FORBIDDEN', { field: 'action', reason: 'messages come by themselves here' })
  const { after, limit = HISTORY_PAGE } = data
  const { rows, ...place } = await polledBy(services, caller).read(limit, after)
  const links = linksFor(services, caller)
  answer.ok('SUCCESS', { messages: rows.map(row => historyEntry(row, true, links)), ...place })
}

/** A request by an access token. */
export type Waiter = Caller & { readonly permissions: LoginPermissions | undefined }

interface Patience {
  /** As of `inbox`. */
  readonly after: number | undefined
  readonly ms: number
  /** Ends it. */
  readonly signal: AbortSignal
}

/**
 * Waits for what `inbox` would answer. Whoever waits counts as a connection of its account, and its login ends it as it ends one.
 * @throws GatewayError ERROR_UNAUTHORIZED, at once if the login ends meanwhile, TOO_MANY_CONNECTIONS, STORE_UNAVAILABLE
 */
export async function waitForInbox(
  services: Services,
  caller: Waiter,
  { after, ms, signal }: Patience,
): Promise<void> {
  const { userId = '', login, permissions } = caller
  const polled = polledBy(services, caller)
  const over = new AbortController()
  const end = () => over.abort()
  services.limits.enterAccount(userId)
  // From here on a revocation is told, and those of other logins mean nothing.
  const forget = services.live.whileWaiting(userId, { login, permissions, end })
  try {
    permissions?.joined()
    admit(permissions)
    const upTo = await polled.emptyUpTo(after)
    if (upTo !== undefined) await polled.arrival(upTo, ms, AbortSignal.any([signal, over.signal]))
    admit(permissions)
  } finally {
    permissions?.left()
    forget()
    services.limits.leave(userId)
  }
}

const linksFor = ({ files }: Services, { userId }: LoggedIn): Links => ({
  urlsFor: file => files.urlsFor(file, userId),
})

/** Messages of one conversation, newest first. `data` is an object: only a query's reply may carry an array there. */
export const handleHistory: Handler<RequestData<'history'>, LoggedIn> = async (
  services,
  caller,
  { data },
  answer,
) => {
  const { with: other, before, limit = HISTORY_PAGE } = data
  // One further than asked for tells whether there is more.
  const found = await services.inbox.history(pairConversation(caller.userId, other), limit + 1, before)
  const rows = found.slice(0, limit)
  const links = linksFor(services, caller)
  const messages = rows.map(({ inbox: owner, row }) => historyEntry(row, owner === caller.userId, links))
  answer.ok('SUCCESS', { messages, more: found.length > limit })
}
