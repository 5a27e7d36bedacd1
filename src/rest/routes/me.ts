/** The account that has logged in. */

import { GatewayError } from '../../core/errors.js'
import { formatTime } from '../../core/time.js'
import { GIVEN, type Me } from '../../protocol/rest.js'
import type { Operation } from '../operation.js'

export const showMe: Operation = {
  method: 'GET',
  path: '/me',
  id: 'showMe',
  summary: 'The own account',
  request: 'query',
  login: 'needed',
  status: 200,
  answer: GIVEN.me,
  run: async ({ user, caller }) => {
    if (user === undefined) throw new GatewayError('ERROR_UNAUTHORIZED')
    const { id, email, username, firstName, lastName, profileImage, key, createdAt } = user
    const { language = null, verifiedAt } = user
    const body: Me = {
      ...{ id, email, username, firstName, lastName, profileImage, key, language },
      role: caller.login?.role === 'admin' ? 'admin' : 'user',
      createdAt: formatTime(createdAt),
      verifiedAt: verifiedAt === undefined ? null : formatTime(verifiedAt),
    }
    return { body }
  },
}

export const ME: readonly Operation[] = [showMe]
