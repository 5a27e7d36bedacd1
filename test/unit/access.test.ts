import t from 'tap'
import { TopicAccess } from '../../src/mqtt/acl/access.js'

const ME = '123456789'
const OTHER = '987654321'
const closed = new TopicAccess('closed')
const open = new TopicAccess('open')
const listed = new TopicAccess([
  { pattern: 'sensors/%u/#', access: 'readwrite' },
  { pattern: 'news/+', access: 'read' },
  { pattern: 'reports', access: 'write' },
])

t.test('a PUBLISH to any inbox is a message to its owner, whatever the ACL', async t => {
  for (const access of [closed, open, listed]) {
    t.match(access.publish(ME, `users/${OTHER}/inbox`), { kind: 'message', recipient: OTHER })
    t.match(access.publish(ME, `users/${ME}/inbox`), { kind: 'message', recipient: ME })
  }
})

t.test('PUBLISH to the own requests is a request, to another user’s it is refused', async t => {
  t.same(open.publish(ME, `users/${ME}/requests`), { kind: 'request' })
  t.same(open.publish(ME, `users/${OTHER}/requests`), { kind: 'refused' })
})

t.test('no client publishes to topics of the gateway, even with an open ACL', async t => {
  const topics = [
    `users/${ME}/replies`,
    `users/${ME}/presence`,
    `users/${ME}/inbox/1`,
    `users/${ME}`,
    'users',
  ]
  topics.push('users/anything/else', '$SYS/broker', '$share/g/x', '$anything')
  for (const topic of topics) t.same(open.publish(ME, topic), { kind: 'refused' }, topic)
})

t.test('an anonymous client has no messages, no requests, no inbox, no presence', async t => {
  for (const topic of [`users/${ME}/inbox`, `users/${ME}/requests`]) {
    t.same(open.publish(undefined, topic), { kind: 'refused' }, topic)
  }
  for (const filter of [`users/${ME}/inbox/#`, `users/${ME}/replies`, 'users/+/presence']) {
    t.equal(open.subscribe(undefined, filter), false, filter)
    t.equal(open.read(undefined, filter), false, filter)
  }
  t.same(open.publish(undefined, 'a/b'), { kind: 'topic' })
  t.equal(open.subscribe(undefined, '#'), true)
})

t.test('SUBSCRIBE is granted for the own inbox and replies and for presence', async t => {
  const granted = [`users/${ME}/inbox/#`, `users/${ME}/inbox/+`, `users/${ME}/replies`]
  granted.push(`users/${OTHER}/presence`, `users/${ME}/presence`, 'users/+/presence')
  for (const filter of granted) {
    t.equal(closed.subscribe(ME, filter), true, filter)
    t.equal(open.subscribe(ME, filter), true, filter)
  }
})

t.test('SUBSCRIBE is refused for all other topics under users/ and $, even with an open ACL', async t => {
  const refused = [`users/${OTHER}/inbox/#`, `users/${OTHER}/inbox/+`, `users/${OTHER}/replies`]
  refused.push(
    `users/${ME}/#`,
    `users/${ME}/+`,
    `users/${ME}/inbox`,
    `users/${ME}/inbox/1`,
    `users/${ME}/requests`,
  )
  refused.push(
    'users/#',
    'users/+/#',
    'users/+/inbox/#',
    'users/+/+',
    'users/+/replies',
    'users/+/presence/#',
  )
  refused.push('$SYS/#', '$session', '$share', '$share/group', '$share/group/', '$share//x', '$share/+/x')
  refused.push(`$share/group/users/${ME}/inbox/#`, '$share/group/users/+/presence', '$share/group/$SYS/#')
  for (const filter of refused) {
    t.equal(closed.subscribe(ME, filter), false, filter)
    t.equal(open.subscribe(ME, filter), false, filter)
  }
})

t.test('the topics of the system are for admins, who cannot share them', async t => {
  const grantee = (role: 'admin' | 'user' | 'device' | 'any') => ({ clientId: 'c', role })
  for (const access of [open, closed])
    for (const role of ['admin', 'user', 'device', 'any'] as const) {
      for (const topic of ['$SYS/#', '$SYS/broker/uptime']) {
        t.equal(access.subscribe(ME, topic, grantee(role)), role === 'admin', `${role} ${topic}`)
        t.equal(access.read(ME, topic, grantee(role)), role === 'admin')
      }
      for (const topic of ['$SYS', '$SYSTEM/x', '$share/group/$SYS/#', '$session'])
        t.equal(access.subscribe(ME, topic, grantee(role)), false, topic)
      t.same(access.publish(ME, '$SYS/broker/uptime', grantee(role)), { kind: 'refused' })
    }
})

t.test('a shared subscription needs the right to its filter', async t => {
  t.equal(open.subscribe(ME, '$share/group/a/#'), true)
  t.equal(closed.subscribe(ME, '$share/group/a/#'), false)
  const some = new TopicAccess([{ pattern: 'a/#', access: 'read' }])
  t.equal(some.subscribe(ME, '$share/group/a/b'), true)
  t.equal(some.subscribe(ME, '$share/group/b'), false)
})

t.test('a closed ACL opens no other topic', async t => {
  for (const topic of ['a', 'a/b', '#', '+', '+/+', '/']) {
    t.equal(closed.subscribe(ME, topic), false, topic)
    t.equal(closed.read(ME, topic), false, topic)
    t.same(closed.publish(ME, topic), { kind: 'refused' }, topic)
  }
})

t.test('a wildcard in an open ACL reads no topics of the gateway', async t => {
  for (const filter of ['#', '+/#', `+/${OTHER}/replies`]) t.equal(open.subscribe(ME, filter), true, filter)
  for (const topic of [`users/${OTHER}/replies`, `users/${OTHER}/inbox/1`, 'users/x', '$SYS/x/heartbeat']) {
    t.equal(open.read(ME, topic), false, topic)
  }
  t.equal(open.read(ME, `users/${ME}/replies`), false, 'told past the broker')
  t.equal(open.read(ME, `users/${OTHER}/presence`), true)
  t.equal(open.read(ME, 'a/b'), true)
})

t.test('a listed pattern grants its access to its roles', async t => {
  t.same(listed.publish(ME, `sensors/${ME}/t`), { kind: 'topic' })
  t.same(listed.publish(ME, `sensors/${OTHER}/t`), { kind: 'refused' })
  t.equal(listed.subscribe(ME, `sensors/${ME}/#`), true)
  t.equal(listed.subscribe(ME, `sensors/${ME}/+/x`), true)
  for (const filter of ['sensors/#', 'sensors/+/t', '#', `sensors/${OTHER}/#`, 'news/#']) {
    t.equal(listed.subscribe(ME, filter), false, filter)
  }
  t.equal(listed.read(ME, `sensors/${ME}/t`), true)
  t.equal(listed.read(ME, `sensors/${OTHER}/t`), false)
})

t.test('read and write are separate rights', async t => {
  t.equal(listed.subscribe(ME, 'news/+'), true)
  t.same(listed.publish(ME, 'news/today'), { kind: 'refused' })
  t.equal(listed.subscribe(ME, 'reports'), false)
  t.same(listed.publish(ME, 'reports'), { kind: 'topic' })
})

t.test('a pattern with %u grants an anonymous client nothing', async t => {
  for (const topic of ['sensors//t', 'sensors/undefined/t', 'sensors/%u/t']) {
    t.same(listed.publish(undefined, topic), { kind: 'refused' }, topic)
    t.equal(listed.subscribe(undefined, topic), false, topic)
  }
  t.equal(listed.subscribe(undefined, 'news/+'), true)
})
