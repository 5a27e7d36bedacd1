/** The second factor of the account, its passkeys, and passwords for apps that know nothing of it. */
import type { CodeName } from '../../core/errors.js'
import type { RequestName } from '../../protocol/requests.js'
import { GIVEN, type Schema, TAKEN } from '../../protocol/rest.js'
import type { Operation } from '../operation.js'
import { HttpRefusal, Refused } from '../problem.js'

/** Whoever asks shows the password once more, and a code where there is a second factor. */
const REFUSALS: readonly CodeName[] = ['ERROR_AUTH', 'SECOND_FACTOR_REQUIRED', 'FORBIDDEN']

/** An operation that is one request, whose data are the answer. */
const one = <N extends RequestName & keyof typeof TAKEN>(
  method: Operation['method'],
  path: string,
  request: N,
  about: { readonly summary: string; readonly status: number; readonly answer?: Schema },
): Operation => ({
  ...about,
  method,
  path,
  id: request,
  request,
  login: 'needed',
  ...(method !== 'GET' && { body: TAKEN[request], refusals: REFUSALS }),
  isSecret: true,
  run: async ({ ask, body }) => {
    const { data } = await ask(request, body)
    return about.answer === undefined ? {} : { body: data as object }
  },
})

const NO_PASSKEY = new HttpRefusal(404, 'id', 'no such passkey')

const removePasskey: Operation = {
  method: 'DELETE',
  path: '/me/passkeys/{id}',
  id: 'removePasskey',
  summary: 'Remove a passkey. Tokens that it was exchanged for stay',
  request: 'removePasskey',
  login: 'needed',
  params: TAKEN.passkey,
  body: TAKEN.removePasskey,
  status: 204,
  refusals: [...REFUSALS, 'ERROR_FIND_USER'],
  run: async ({ ask, body, params }) => {
    await ask('removePasskey', { ...body, passkey: params.id }).catch(thrown => {
      const isUnknown = thrown instanceof Refused && thrown.error.kind === 'BAD_FIELD'
      throw isUnknown ? new Refused(NO_PASSKEY) : thrown
    })
    return {}
  },
}

export const SECOND_FACTOR = [
  one('GET', '/me/second-factor', 'secondFactor', {
    summary: 'Whether the account has a second factor',
    status: 200,
    answer: GIVEN.SecondFactor,
  }),
  one('POST', '/me/second-factor', 'beginSecondFactor', {
    summary: 'Begin a second factor: a secret for an authenticator app. It counts when it is confirmed',
    status: 200,
    answer: GIVEN.Secret,
  }),
  one('POST', '/me/second-factor/confirm', 'confirmSecondFactor', {
    summary: 'Confirm it by a code of the app. All other logins end',
    status: 200,
    answer: GIVEN.RecoveryCodes,
  }),
  one('POST', '/me/second-factor/recovery-codes', 'renewRecoveryCodes', {
    summary: 'Make new recovery codes instead of those before',
    status: 200,
    answer: GIVEN.RecoveryCodes,
  }),
  one('DELETE', '/me/second-factor', 'removeSecondFactor', {
    summary: 'Remove the second factor',
    status: 204,
  }),
  one('GET', '/me/passkeys', 'passkeys', {
    summary: 'Passkeys of the account',
    status: 200,
    answer: GIVEN.Passkeys,
  }),
  one('POST', '/me/passkeys/options', 'beginPasskey', {
    summary: 'Begin a passkey: what to ask the browser',
    status: 200,
    answer: GIVEN.NewPasskeyOptions,
  }),
  one('POST', '/me/passkeys', 'addPasskey', {
    summary: 'Add the passkey that the browser has made',
    status: 201,
    answer: GIVEN.Passkey,
  }),
  removePasskey,
  one('POST', '/app-passwords', 'mintAppPassword', {
    summary: 'Make a password for one app that knows no second factor. It ends by `DELETE /sessions/{id}`',
    status: 201,
    answer: GIVEN.AppPassword,
  }),
]
