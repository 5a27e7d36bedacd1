/** What has to do with letters: a forgotten password, and the address of the account. */
import type { RequestName } from '../../protocol/requests.js'
import { TAKEN } from '../../protocol/rest.js'
import type { Operation } from '../operation.js'

/** A POST that answers nothing but that it was done. @param status 202: a letter follows, if there is whom to write to */
const post = <N extends RequestName & keyof typeof TAKEN>(
  path: string,
  request: N,
  about: Pick<Operation, 'summary' | 'login' | 'refusals'> & { readonly status: 202 | 204 },
): Operation => ({
  ...about,
  method: 'POST',
  path,
  id: request,
  request,
  body: TAKEN[request],
  run: async ({ ask, body }) => {
    await ask(request, body)
    return {}
  },
})

export const MAIL = [
  post('/password-resets', 'requestPasswordReset', {
    summary:
      'Ask for a letter with a link and a code. The answer does not tell whether there is such an account',
    login: 'none',
    status: 202,
  }),
  post('/password-resets/confirm', 'resetPassword', {
    summary: 'Set a new password by the link’s token, or by address and code. All logins end',
    login: 'none',
    status: 204,
    refusals: ['ERROR_AUTH'],
  }),
  post('/email-verifications', 'resendVerification', {
    summary: 'Ask for a letter that shows whose the address is',
    login: 'optional',
    status: 202,
  }),
  post('/email-verifications/confirm', 'verifyEmail', {
    summary: 'Confirm an address by the link’s token, or by address and code',
    login: 'optional',
    status: 204,
    refusals: ['ERROR_AUTH', 'ERROR_EXIST_USER', 'ERROR_FIND_USER'],
  }),
  post('/me/email', 'changeEmail', {
    summary: 'Ask for another address; it counts when it is confirmed',
    login: 'needed',
    status: 202,
    refusals: ['SECOND_FACTOR_REQUIRED', 'FORBIDDEN', 'ERROR_EXIST_USER'],
  }),
  post('/email-changes/undo', 'undoEmail', {
    summary:
      'Take a change of the address back, by the token of its letter, with a new password. All logins end',
    login: 'none',
    status: 204,
    refusals: ['ERROR_AUTH'],
  }),
]
