/** Properties of topics, filters and ACL, against an independent model of matching (MQTT 3.1.1, 4.7). */
import fc from 'fast-check'
import t from 'tap'
import { HOSTILE_NAMES } from '../../scripts/fuzz/hostile.js'
import { covers } from '../../src/core/topic-filter.js'
import { TopicAccess, type TopicGrant } from '../../src/mqtt/acl/access.js'
import { clientIdOf, scopedId, userIdOf } from '../../src/mqtt/acl/client-id.js'
import { isOwnTree, parseOwnTopic } from '../../src/mqtt/acl/topics.js'
import { check } from '../helpers/property.js'

const ME = '123456789'
const OTHER = '987654321'

/** Few names, so that patterns, filters and topics meet. */
const name = fc.oneof(
  {
    weight: 9,
    arbitrary: fc.constantFrom(
      'users',
      ME,
      OTHER,
      'inbox',
      'replies',
      'presence',
      'requests',
      '1',
      'a',
      'b',
      '',
      '$SYS',
      '$share',
    ),
  },
  { weight: 1, arbitrary: fc.constantFrom(...HOSTILE_NAMES.filter(one => !/[+#/\0]/.test(one))) },
)
const topic = fc
  .array(name, { minLength: 1, maxLength: 5 })
  .map(levels => levels.join('/'))
  .filter(one => one !== '')
const filter = fc
  .tuple(fc.array(fc.oneof({ weight: 3, arbitrary: name }, fc.constant('+')), { maxLength: 5 }), fc.boolean())
  .map(([levels, isOpen]) => [...levels, ...(isOpen ? ['#'] : [])].join('/'))
  .filter(one => one !== '')
const mark = fc.constantFrom('%u', '%c')
const pattern = fc
  .tuple(
    fc.array(
      fc.oneof(
        { weight: 4, arbitrary: name },
        { weight: 1, arbitrary: fc.constant('+') },
        { weight: 2, arbitrary: mark },
      ),
      { maxLength: 4 },
    ),
    fc.boolean(),
  )
  .map(([levels, isOpen]) => [...levels, ...(isOpen ? ['#'] : [])].join('/'))
  .filter(one => one !== '')
const clientId = fc.oneof(
  name,
  fc.constantFrom('a/b', '+', '#', 'a+', '', '%u', '%c', '$&', "$'"),
  fc.string({ unit: 'binary' }),
)
const userId = fc.constantFrom(ME, OTHER, undefined)
const grant: fc.Arbitrary<TopicGrant> = fc.record({
  pattern,
  access: fc.constantFrom('read' as const, 'write' as const, 'readwrite' as const),
})
const acl = fc.oneof(fc.constantFrom('open' as const, 'closed' as const), fc.array(grant, { maxLength: 4 }))

/** Level by level, as the specification's text says it. */
function matches([first, ...filter]: readonly string[], topic: readonly string[], isFirst = true): boolean {
  const isHidden = isFirst && topic[0]?.startsWith('$') === true
  if (first === undefined) return topic.length === 0
  if (first === '#') return !isHidden
  if (topic.length === 0) return false
  if (first === '+' ? isHidden : first !== topic[0]) return false
  return matches(filter, topic.slice(1), false)
}

const isMatch = (filter: string, topic: string) => matches(filter.split('/'), topic.split('/'))

t.test('a pattern that covers a filter matches each topic that the filter matches', async t => {
  let count = 0
  check(
    t,
    fc.property(filter, filter, topic, (pattern, filter, topic) => {
      if (!covers(pattern, filter) || !isMatch(filter, topic)) return true
      count++
      return isMatch(pattern, topic)
    }),
    { numRuns: 20_000 },
  )
  check(
    t,
    fc.property(filter, topic, (filter, topic) => covers(filter, topic) === isMatch(filter, topic)),
    { numRuns: 20_000 },
  )
  t.ok(count > 50, `${count} topics were matched by both`)
})

/** What the access rules mean by words of their own: docs/security.md, "Rights". */
function mayRead(
  rules: 'open' | 'closed' | readonly TopicGrant[],
  me: string | undefined,
  clientId: string,
  topic: string,
): boolean {
  const [first = '', owner = '', kind = '', ...more] = topic.split('/')
  if (first.startsWith('$')) return false
  if (first === 'users') {
    if (me === undefined || !/^[1-9][0-9]{8}$/.test(owner)) return false
    if (kind === 'presence') return more.length === 0
    return (
      owner === me && ((kind === 'replies' && more.length === 0) || (kind === 'inbox' && more.length <= 1))
    )
  }
  if (typeof rules === 'string') return rules === 'open'
  return rules.some(({ pattern, access }) => {
    if (access === 'write') return false
    const levels = pattern.split('/')
    if (me === undefined && levels.some(level => level === '%u' || level === '%c')) return false
    if (levels.includes('%c') && !/^[^/+#\0]+$/.test(clientId)) return false
    return matches(
      levels.map(level => (level === '%u' ? String(me) : level === '%c' ? clientId : level)),
      topic.split('/'),
    )
  })
}

t.test('a granted filter opens only topics that its client may read', async t => {
  let count = 0
  check(
    t,
    fc.property(acl, userId, clientId, filter, topic, (rules, me, clientId, filter, topic) => {
      const access = new TopicAccess(rules)
      const grantee = { clientId, role: 'user' as const }
      if (!access.subscribe(me, filter, grantee) || !isMatch(filter, topic)) return true
      // An open `#` reaches into the gateway’s tree; what is routed there is asked for packet by packet.
      if (isOwnTree(topic) && !isOwnTree(filter))
        return !access.read(me, topic, grantee) || mayRead(rules, me, clientId, topic)
      count++
      return mayRead(rules, me, clientId, topic)
    }),
    { numRuns: 30_000 },
  )
  t.ok(count > 100, `${count} topics were opened`)
})

t.test('a packet reaches only clients that may read its topic', async t => {
  check(
    t,
    fc.property(acl, userId, clientId, topic, (rules, me, clientId, topic) => {
      const isRead = new TopicAccess(rules).read(me, topic, { clientId, role: 'user' })
      return !isRead || mayRead(rules, me, clientId, topic)
    }),
    { numRuns: 20_000 },
  )
})

t.test(
  'no client can subscribe to another’s inbox, replies or requests, or share an inbox or $SYS',
  async t => {
    const foreign = fc.tuple(
      fc.constantFrom(
        `users/${OTHER}/inbox`,
        `users/${OTHER}/replies`,
        `users/${OTHER}/requests`,
        'users/+/inbox',
        `$share/g/users/${OTHER}/inbox`,
        `$share/g/users/${ME}/inbox`,
        `$share/g/users/${ME}/replies`,
        '$share/g/$SYS',
      ),
      fc.constantFrom('', '/#', '/+', '/1', `/users/${ME}/inbox/#`),
    )
    check(
      t,
      fc.property(
        acl,
        clientId,
        foreign,
        (rules, clientId, [start, end]) =>
          !new TopicAccess(rules).subscribe(ME, start + end, { clientId, role: 'admin' }),
      ),
    )
  },
)

t.test('below users/ a client can publish only messages and own requests, and nothing to $', async t => {
  check(
    t,
    fc.property(acl, userId, clientId, topic, (rules, me, clientId, topic) => {
      const right = new TopicAccess(rules).publish(me, topic, { clientId, role: 'user' })
      if (topic.startsWith('$')) return right.kind === 'refused'
      if (!isOwnTree(topic)) return right.kind === 'topic' || right.kind === 'refused'
      if (right.kind === 'message') return topic === `users/${right.recipient}/inbox` && right.sender === me
      return right.kind === 'refused' || (right.kind === 'request' && topic === `users/${me}/requests`)
    }),
    { numRuns: 20_000 },
  )
})

t.test('an inbox topic is recognised as by its pattern', async t => {
  const near = fc.tuple(
    fc.constantFrom('users/', 'Users/', 'users'),
    fc.oneof(
      fc.constantFrom(ME, '012345678', '12345678', '1234567890', '１23456789', '12345678x'),
      fc.string({ unit: 'binary', minLength: 9, maxLength: 9 }),
    ),
    fc.constantFrom('/inbox', '/inbox/', '/inbot', ''),
  )
  check(
    t,
    fc.property(near, parts => {
      const topic = parts.join('')
      const [, userId] = /^users\/([1-9][0-9]{8})\/inbox$/.exec(topic) ?? []
      const own = parseOwnTopic(topic)
      return userId === undefined ? own.kind !== 'inbox' : own.kind === 'inbox' && own.userId === userId
    }),
    { numRuns: 5000 },
  )
})

t.test('two clients have one scoped id only if they are one account and one client id', async t => {
  check(
    t,
    fc.property(userId, clientId, userId, clientId, (user, client, otherUser, otherClient) => {
      const scoped = scopedId(user, client)
      const isSame = scoped === scopedId(otherUser, otherClient)
      return (
        clientIdOf(scoped) === client &&
        userIdOf(scoped) === user &&
        isSame === (user === otherUser && client === otherClient)
      )
    }),
    { numRuns: 5000 },
  )
})
