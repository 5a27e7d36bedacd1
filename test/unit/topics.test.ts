import t from 'tap'
import { covers, filterFault } from '../../src/core/topic-filter.js'
import { inboxTopic, isInboxFilter, isOwnTree, parseOwnTopic } from '../../src/mqtt/acl/topics.js'

const ME = '123456789'

t.test('parseOwnTopic accepts the four kinds of topic and no similar ones', async t => {
  for (const kind of ['inbox', 'requests', 'replies', 'presence']) {
    t.same(parseOwnTopic(`users/${ME}/${kind}`), { kind, userId: ME })
  }
  const others = [
    'users',
    'users/',
    `users/${ME}`,
    `users/${ME}/`,
    `users/${ME}/inbox/`,
    `users/${ME}/inbox/1`,
    `users/${ME}/INBOX`,
    `users/${ME}/constructor`,
    `users/${ME}/other`,
    `/users/${ME}/inbox`,
    'users/023456789/inbox',
    'users/12345678/inbox',
    'users/1234567890/inbox',
    `users/${ME}\n/inbox`,
    `users/${ME}/inbox\n`,
    'users/+/inbox',
    'users/#',
  ]
  for (const topic of others) t.same(parseOwnTopic(topic), { kind: 'unknown' }, topic)
})

t.test('isOwnTree holds everything under users/, whatever follows', async t => {
  for (const topic of ['users', 'users/', 'users/#', 'users/+/inbox', 'users//x'])
    t.ok(isOwnTree(topic), topic)
  for (const topic of ['user', 'usersx/1', '/users/1', 'Users/1', '#', '+/1'])
    t.notOk(isOwnTree(topic), topic)
})

t.test('isInboxFilter accepts only the filters of the client’s own inbox', async t => {
  t.ok(isInboxFilter(`users/${ME}/inbox/#`, ME))
  t.ok(isInboxFilter(`users/${ME}/inbox/+`, ME))
  t.ok(isInboxFilter(`users/${ME}/inbox/+/content`, ME))
  const others = ['users/223456789/inbox/#', 'users/+/inbox/#', `users/${ME}/#`, `users/${ME}/+/#`]
  others.push(
    `users/${ME}/inbox`,
    inboxTopic(ME, 1, 'json'),
    inboxTopic(ME, 1, 'content'),
    `users/${ME}/inbox/+/+`,
    `users/${ME}/inbox/+/#`,
  )
  for (const filter of others) t.notOk(isInboxFilter(filter, ME), filter)
})

// MQTT 3.1.1, 4.7.1 and 4.7.2, with its own examples.
const MATCHES: readonly (readonly [pattern: string, topic: string, covered: boolean])[] = [
  ['sport/tennis/player1/#', 'sport/tennis/player1', true],
  ['sport/tennis/player1/#', 'sport/tennis/player1/ranking', true],
  ['sport/tennis/player1/#', 'sport/tennis/player1/score/wimbledon', true],
  ['sport/tennis/player1/#', 'sport/tennis/player10', false],
  ['sport/#', 'sport', true],
  ['sport/#', 'sports', false],
  ['#', 'anything/at/all', true],
  ['#', '/', true],
  ['sport/tennis/+', 'sport/tennis/player1', true],
  ['sport/tennis/+', 'sport/tennis/player1/ranking', false],
  ['sport/+', 'sport', false],
  ['sport/+', 'sport/', true],
  ['+/+', '/finance', true],
  ['/+', '/finance', true],
  ['+', '/finance', false],
  ['+', '', true],
  ['#', '$SYS/broker', false],
  ['+/broker', '$SYS/broker', false],
  ['$SYS/#', '$SYS/broker', true],
  ['a/$b', 'a/$b', true],
  ['a/+', 'a/$b', true],
  ['a', 'a/', false],
  ['ACCOUNTS', 'Accounts', false],
]

for (const [pattern, topic, covered] of MATCHES) {
  t.test(`${pattern} ${covered ? 'matches' : 'does not match'} ${topic || 'an empty level'}`, async t => {
    t.equal(covers(pattern, topic), covered)
  })
}

// Whether a granted pattern holds everything that an asked-for filter can match.
const COVERS: readonly (readonly [pattern: string, filter: string, covered: boolean])[] = [
  ['a/#', 'a/#', true],
  ['a/#', 'a', true],
  ['a/#', 'a/+', true],
  ['a/#', 'a/+/b/#', true],
  ['a/#', '#', false],
  ['a/#', '+/b', false],
  ['a/#', '+/#', false],
  ['a/+', 'a/+', true],
  ['a/+', 'a/b', true],
  ['a/+', 'a/#', false],
  ['a/+', 'a/+/#', false],
  ['a/+/c', 'a/+/c', true],
  ['a/b/c', 'a/+/c', false],
  ['+/b', 'a/b', true],
  ['+/b', '+/b', true],
  ['+/b', '+/+', false],
  ['+/#', '#', false],
  ['#', '#', true],
  ['#', '+/+/#', true],
]

for (const [pattern, filter, covered] of COVERS) {
  t.test(`a grant of ${pattern} ${covered ? 'holds' : 'does not hold'} ${filter}`, async t => {
    t.equal(covers(pattern, filter), covered)
  })
}

// MQTT 3.1.1, 4.7.1 and 4.7.3; the clause that each breaks.
const FILTERS: readonly (readonly [filter: string, clause: string | undefined])[] = [
  ['a', undefined],
  ['/', undefined],
  ['//', undefined],
  ['#', undefined],
  ['+', undefined],
  ['a/#', undefined],
  ['+/+/#', undefined],
  ['$SYS/#', undefined],
  ['$share/group/a', undefined],
  ['a/ /b', undefined],
  ['', '[MQTT-4.7.3-1]'],
  ['a\u0000', '[MQTT-4.7.3-2]'],
  ['#/', '[MQTT-4.7.1-2]'],
  ['a#', '[MQTT-4.7.1-2]'],
  ['a/#/b', '[MQTT-4.7.1-2]'],
  ['##', '[MQTT-4.7.1-2]'],
  ['a+', '[MQTT-4.7.1-3]'],
  ['+a/b', '[MQTT-4.7.1-3]'],
  ['++', '[MQTT-4.7.1-3]'],
]

t.test('the syntax of topic filters', async t => {
  for (const [filter, clause] of FILTERS) t.equal(filterFault(filter)?.clause, clause, JSON.stringify(filter))
})
