import { GatewayError } from '../core/errors.js'
import { historyEntry, type Links } from '../core/message.js'
import { pairConversation } from '../core/model.js'
import type { RequestData } from '../protocol/requests.js'
import type { Handler, LoggedIn } from './context.js'

/** Messages of one reply, where the request does not say how many. */
const HISTORY_PAGE = 50

export const handleAck: Handler<RequestData<'ack'>, LoggedIn> = (_services, caller, { data }, answer) => {
  if (caller.target?.confirm(data.seq) !== true) {
    const reason = caller.target ? 'needs ack: explicit at login' : 'MQTT devices confirm by PUBACK'
    throw new GatewayError('FORBIDDEN', { field: 'action', reason })
  }
  answer.ok('SUCCESS')
}

/** Messages of one conversation, newest first. `data` is an object: only a query's reply may carry an array there. */
export const handleHistory: Handler<RequestData<'history'>, LoggedIn> = async (
  { inbox, files },
  caller,
  { data },
  answer,
) => {
  const { with: other, before, limit = HISTORY_PAGE } = data
  // One further than asked for tells whether there is more.
  const found = await inbox.history(pairConversation(caller.userId, other), limit + 1, before)
  const rows = found.slice(0, limit)
  const links: Links = { urlsFor: file => files.urlsFor(file, caller.userId) }
  const messages = rows.map(({ inbox: owner, row }) => historyEntry(row, owner === caller.userId, links))
  answer.ok('SUCCESS', { messages, more: found.length > limit })
}
