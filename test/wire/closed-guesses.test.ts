/** Password guesses on connections that close at once, measured by the number of hashes. */
import { once } from 'node:events'
import t, { type Test } from 'tap'
import { jsonClient, type RunningGateway, register, startGateway } from '../helpers/gateway.js'
import { rawSocket } from '../helpers/raw-mqtt.js'

const GUESSES = 60

/** One hash at a time, each slow enough that all guesses are closed while the first are made. */
const start = (t: Test) =>
  startGateway(t, {
    'http.trustProxy': '127.0.0.1',
    'passwords.cost': 11,
    'passwords.concurrency': 1,
    // The guesses over MQTT come from here, too.
    'limits.exempt': ['127.0.0.1'],
  })

const from = (i: number) => ({ headers: { 'X-Forwarded-For': `198.51.${i}.1` } })

/** Numbers of logins that were hashed and wrong, and of those that were dropped. */
async function outcomes({ http }: RunningGateway, front: string) {
  const text = await (await fetch(`${http}/metrics`)).text()
  const count = (outcome: string) =>
    Number(text.split(`mumi_logins_total{front="${front}",outcome="${outcome}"} `)[1]?.split('\n', 1)[0] ?? 0)
  return { hashed: count('wrong-credentials'), dropped: count('unavailable') }
}

t.test('guesses over JSON of closed connections are not hashed', async t => {
  const gateway = await start(t)
  const { email, password } = await register(t, gateway)
  const crowd = await Promise.all(
    Array.from({ length: GUESSES }, (_, i) => jsonClient(t, gateway, '/', from(i))),
  )
  crowd.forEach((client, i) => {
    const guess = { email: i % 2 ? email : `nobody${i}@example.com`, password: 'wrong' }
    client.send({ type: 'action', action: 'login', data: guess })
    // Answered at once, when the guess is read.
    client.ws.ping()
  })
  await Promise.all(crowd.map(client => once(client.ws, 'pong')))
  for (const client of crowd) client.ws.terminate()
  const owner = await jsonClient(t, gateway, '/', from(200))
  t.match(await owner.action('login', { email, password }), { code: 202 })
  const { hashed, dropped } = await outcomes(gateway, 'json')
  t.ok(hashed < GUESSES / 2, `${hashed} of ${GUESSES} were hashed`)
  t.ok(dropped > GUESSES / 2, `${dropped} of ${GUESSES} were dropped`)
})

t.test('guesses by CONNECT of closed connections are not hashed', async t => {
  const gateway = await start(t)
  const { email, password } = await register(t, gateway)
  const crowd = await Promise.all(Array.from({ length: GUESSES }, () => rawSocket(t, gateway)))
  await Promise.all(
    crowd.map(async (client, i) => {
      const guess = { username: email, password: Buffer.from('wrong') }
      client.send({ cmd: 'connect', clientId: `guess${i}`, clean: true, keepalive: 0, ...guess })
      client.socket.end()
      await once(client.socket, 'close')
    }),
  )
  const owner = await jsonClient(t, gateway, '/', from(200))
  t.match(await owner.action('login', { email, password }), { code: 202 })
  const { hashed } = await outcomes(gateway, 'mqtt')
  t.ok(hashed < GUESSES / 2, `${hashed} of ${GUESSES} were hashed`)
})
