import { extendMessage } from '../protocol/replies.js'
import type { RequestData } from '../protocol/requests.js'
import type { Handler, LoggedIn } from './context.js'

const HISTORY_PAGE = 50

export const handleAck: Handler<RequestData<'ack'>, LoggedIn> = (_services, caller, { data }, answer) => {
  caller.confirm(data.seq)
  answer.ok('SUCCESS')
}

/** Messages of one conversation, newest first. An object, since only a query's reply may carry an array in `data`. */
export const handleHistory: Handler<RequestData<'history'>, LoggedIn> = async (
  { inbox },
  caller,
  { data },
  answer,
) => {
  const { with: other, before, limit = HISTORY_PAGE } = data
  const rows = await inbox.history(caller.userId, other, limit, before)
  const messages = rows.map(({ inbox: owner, row }) => {
    const { seq, ...message } = JSON.parse(extendMessage(row))
    // seq counts the reader's own inbox; in the other party's it says nothing to this one.
    return owner === caller.userId ? { ...message, seq } : message
  })
  answer.ok('SUCCESS', { messages, more: rows.length === limit })
}
