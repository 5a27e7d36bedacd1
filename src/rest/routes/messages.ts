/** Messages: sent, and read again. */

import { waitForInbox } from '../../handle/inbox.js'
import { GIVEN, TAKEN } from '../../protocol/rest.js'
import type { Operation } from '../operation.js'

const send: Operation = {
  method: 'POST',
  path: '/messages',
  id: 'sendMessage',
  summary: 'Send a message. It is stored when this is answered',
  request: 'message',
  login: 'needed',
  body: TAKEN.message,
  status: 201,
  answer: GIVEN.Sent,
  refusals: ['ERROR_FIND_USER', 'ERROR_USER_NOT_ONLINE', 'KEY_REUSED'],
  takesKey: true,
  run: async ({ ask, body, key }) => ({ body: (await ask('message', body, key)).data as object }),
}

const history: Operation = {
  method: 'GET',
  path: '/messages',
  id: 'listMessages',
  summary: 'Messages of the conversation with one user, newest first',
  request: 'history',
  login: 'needed',
  query: TAKEN.history,
  status: 200,
  answer: GIVEN.Messages,
  isPaged: true,
  run: async ({ ask, query }) => {
    const body = (await ask('history', query)).data as { messages: { id: string }[]; more: boolean }
    const last = body.more ? body.messages.at(-1)?.id : undefined
    return { body, ...(last !== undefined && { next: { before: last } }) }
  },
}

const inbox: Operation = {
  method: 'GET',
  path: '/inbox',
  id: 'readInbox',
  summary:
    'Messages that came and that the device of the token has not confirmed, or those behind `after`, oldest first; also broadcasts',
  request: 'inbox',
  login: 'needed',
  query: TAKEN.inbox,
  status: 200,
  answer: GIVEN.Inbox,
  refusals: ['TOO_MANY_CONNECTIONS'],
  isPaged: true,
  wait: async ({ caller, query, services }, signal) => {
    const after = query.after as number | undefined
    const ms = Number(query.wait ?? 0) * 1000
    if (ms > 0) await waitForInbox(services, caller, { after, ms, signal })
  },
  run: async ({ ask, query: { wait: _waited, ...query } }) => {
    const body = (await ask('inbox', query)).data as { upTo: number; more: boolean }
    return { body, ...(body.more && { next: { after: body.upTo } }) }
  },
}

const confirm: Operation = {
  method: 'PUT',
  path: '/inbox/confirmed',
  id: 'confirmMessages',
  summary: 'Confirm all messages up to a `seq`: the device of the token does not get them again',
  request: 'ack',
  login: 'needed',
  body: TAKEN.ack,
  status: 200,
  answer: GIVEN.Confirmed,
  run: async ({ ask, body }) => ({ body: (await ask('ack', body)).data as object }),
}

const broadcast: Operation = {
  method: 'POST',
  path: '/broadcasts',
  id: 'sendBroadcast',
  summary: 'Send a message to all users who are online',
  request: 'broadcast',
  login: 'needed',
  body: TAKEN.broadcast,
  status: 204,
  refusals: ['FORBIDDEN', 'EMAIL_UNVERIFIED'],
  takesKey: true,
  run: async ({ ask, body, key }) => {
    await ask('broadcast', body, key)
    return {}
  },
}

export const MESSAGES = [send, inbox, confirm, history, broadcast]
