import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { Qos2Reader, Qos2Sender, shake } from '../helpers/exactly-once.js'
import { register } from '../helpers/gateway.js'
import { startProgram } from '../helpers/program.js'

t.setTimeout(120_000)

const READERS = 4
const SENDERS = 4
const EACH = 400
const KILLS = 6

t.test('QoS 2 is delivered exactly once to sessions that keep reconnecting, also over kill -9', async t => {
  const program = await startProgram(t, { 'mqtt.acl': 'open' })
  const account = await register(t, program)
  const readers = Array.from({ length: READERS }, (_, i) =>
    new Qos2Reader(program, account, `reader-${i}`, 'news/#').start(),
  )
  t.teardown(() => Promise.all(readers.map(reader => reader.end())))
  await Promise.all(readers.map(({ subscribed }) => subscribed))
  const stops = readers.map(reader => shake(reader, 60))
  const senders = Array.from({ length: SENDERS }, (_, s) => {
    const payloads = Array.from({ length: EACH }, (_, i) => `${s}/${i}`)
    const work = { topic: `news/${s}`, payloads, window: 5 }
    return new Qos2Sender(program, account, `sender-${s}`, work).start()
  })
  t.teardown(() => Promise.all(senders.map(sender => sender.end())))
  for (let kills = 0; kills < KILLS; kills++) {
    await delay(300 + Math.random() * 700)
    await program.kill()
    await program.start()
  }
  await Promise.all(senders.map(({ finished }) => finished))
  await Promise.all(stops.map(stop => stop()))
  const have = (reader: Qos2Reader) => new Set(reader.got.map(({ payload }) => payload)).size
  const isThere = () => readers.every(reader => have(reader) === SENDERS * EACH)
  for (let tries = 0; !isThere() && tries < 600; tries++) await delay(100)
  for (const reader of readers) t.equal(have(reader), SENDERS * EACH, 'all came')
  // What should not come would come on the next connection, too.
  for (const reader of readers) reader.drop()
  await delay(1000)
  await program.kill()
  await program.start()
  await delay(1500)
  for (const reader of readers) t.same(reader.repeated, [], 'none came twice')
})
