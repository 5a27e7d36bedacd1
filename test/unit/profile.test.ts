/** The request `profile`: what it hands on, and who hears of it. */
import t from 'tap'
import type { AuditEntry } from '../../src/core/audit.js'
import { GatewayError } from '../../src/core/errors.js'
import type { LoggedIn } from '../../src/handle/context.js'
import { handleProfile } from '../../src/handle/profile.js'
import type { Services } from '../../src/handle/services.js'
import type { RequestData } from '../../src/protocol/requests.js'
import { ofKind } from '../helpers/kind.js'
import { ANN, user } from '../helpers/store-samples.js'

function setUp(areRevoked = false) {
  const asked: unknown[] = []
  const lines: AuditEntry[] = []
  const services = {
    accounts: {
      changeProfile: async (id: string, profile: object, check: () => void) => {
        check()
        asked.push([id, profile])
        return user(ANN, profile)
      },
    },
    audit: { record: (line: AuditEntry) => void lines.push(line) },
    live: { isOnline: () => true },
    rules: { publicUrl: () => '' },
  } as unknown as Services
  const caller = { userId: ANN, front: 'json', permissions: { areRevoked } } as unknown as LoggedIn
  const ask = async (data: object, id?: string) => {
    const replies: unknown[] = []
    const answer = { ok: (code: string, data: unknown) => void replies.push([code, data]) }
    await handleProfile(services, caller, { data: data as RequestData<'profile'>, id }, answer as never)
    return replies[0]
  }
  return { ask, asked, lines }
}

t.test('what is named is changed, and the audit has the names of the fields alone', async t => {
  const { ask, asked, lines } = setUp()
  t.same(await ask({ username: 'ann', key: '' }), ['SUCCESS', null])
  t.match(await ask({ firstName: 'Ann' }, '1'), [
    'SUCCESS',
    { id: ANN, firstName: 'Ann', password: '', isLogin: true },
  ])
  // Where unknown fields are ignored.
  t.same(await ask({ lastName: 'L', role: 'admin', x: 'secret' }), ['SUCCESS', null])
  t.same(asked, [
    [ANN, { username: 'ann', key: '' }],
    [ANN, { firstName: 'Ann' }],
    [ANN, { lastName: 'L' }],
  ])
  t.same(
    lines.map(({ event, fields }) => [event, fields]),
    [
      ['profile.changed', 'username,key'],
      ['profile.changed', 'firstName'],
      ['profile.changed', 'lastName'],
    ],
  )
})

t.test('nothing is changed where nothing is named, nor for a login that was revoked meanwhile', async t => {
  const { ask, asked, lines } = setUp()
  await t.rejects(ask({}), ofKind('BAD_FIELD'))
  await t.rejects(ask({ role: 'admin' }), ofKind('BAD_FIELD'))
  const revoked = setUp(true)
  await t.rejects(revoked.ask({ username: 'x' }), new GatewayError('ERROR_UNAUTHORIZED'))
  t.same([asked, lines, revoked.asked, revoked.lines], [[], [], [], []])
})
