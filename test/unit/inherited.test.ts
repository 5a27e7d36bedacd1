import t from 'tap'
import { inheritedSockets } from '../../src/app/inherited.js'

t.test('sockets of systemd: by name, and only if they are meant for this process', async t => {
  const env = { LISTEN_PID: '7', LISTEN_FDS: '2', LISTEN_FDNAMES: 'http:mqtt' }
  t.same(
    [...inheritedSockets(env, 7)],
    [
      ['http', 3],
      ['mqtt', 4],
    ],
  )
  t.same([...inheritedSockets(env, 8)], [])
  t.same([...inheritedSockets({}, 7)], [])
  t.same([...inheritedSockets({ LISTEN_PID: '7' }, 7)], [], 'no number of them')
  t.same([...inheritedSockets({ LISTEN_PID: '7', LISTEN_FDS: '1' }, 7)], [['', 3]], 'without a name')
  for (const count of ['-1', 'x', '1e9'])
    t.same([...inheritedSockets({ ...env, LISTEN_FDS: count }, 7)], [], count)
})
