/** Of one read of an HTTP connection, nothing is parsed after the request that ends the connection. */
import { once } from 'node:events'
import { ServerResponse } from 'node:http'
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { jsonClient, type RunningGateway, startGateway } from '../helpers/gateway.js'

/** No address is exempt; a client behind a proxy is unknown, too. */
const start = (t: Test, settings: Record<string, unknown> = {}) =>
  startGateway(t, { 'limits.exempt': '203.0.113.1', ...settings })

const READ_BYTES = 65_536

const filled = (request: string) => request.repeat(Math.ceil(READ_BYTES / request.length))

/** How many answers Node begins while `during` runs, one for each request that its parser found. */
async function answersBegun(t: Test, during: () => Promise<void>): Promise<number> {
  const writeHead = ServerResponse.prototype.writeHead
  let count = 0
  ServerResponse.prototype.writeHead = function (this: ServerResponse, ...args: unknown[]) {
    count++
    return Reflect.apply(writeHead, this, args)
  }
  t.teardown(() => {
    ServerResponse.prototype.writeHead = writeHead
  })
  await during()
  ServerResponse.prototype.writeHead = writeHead
  return count
}

/** The statuses of all answers until the gateway closes. */
async function statuses({ httpPort }: RunningGateway, sent: string): Promise<number[]> {
  const socket = connect(httpPort, '127.0.0.1').on('error', () => undefined)
  let answer = ''
  socket.on('data', bytes => {
    answer += bytes
  })
  socket.write(sent)
  // `once` would reject at a reset, which is an end, too: the gateway closes with bytes that it did not read.
  await new Promise(resolve => socket.once('close', resolve))
  return [...answer.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => Number(status))
}

const FLOODS = {
  'of the page': 'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
  'of nothing': 'GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n',
  'of another method': 'DELETE / HTTP/1.1\r\nHost: x\r\n\r\n',
  'with a body': 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx',
  'without Host': 'GET / HTTP/1.1\r\n\r\n',
  'with an unknown Expect': 'GET / HTTP/1.1\r\nHost: x\r\nExpect: x\r\n\r\n',
  'that want to continue': 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\nx',
  'of HTTP/1.0': 'GET / HTTP/1.0\r\n\r\n',
}

for (const [name, request] of Object.entries(FLOODS))
  t.test(`64 KiB of requests ${name}: only a few are parsed`, async t => {
    const gateway = await start(t)
    const count = await answersBegun(t, async () => {
      const answers = await statuses(gateway, filled(request))
      t.ok(answers.length > 0 && answers.length <= 40, `${answers.length} answers`)
    })
    t.ok(count <= 20, `${count} of ${Math.ceil(READ_BYTES / request.length)} were worked off`)
    await jsonClient(t, gateway)
  })

t.test('an address that has used up its rate costs one answer a connection: 429, and the end', async t => {
  const gateway = await start(t, { 'limits.httpRequests': 1 })
  const request = FLOODS['of the page']
  const count = await answersBegun(t, async () => {
    const all = await Promise.all(Array.from({ length: 20 }, () => statuses(gateway, filled(request))))
    const answers = all.flat()
    t.equal(answers.filter(status => status === 200).length, 10, 'the burst')
    t.equal(answers.filter(status => status === 429).length, 20, 'one for each connection')
    t.equal(answers.length, 30)
  })
  t.equal(count, 30)
})

t.test('nothing is parsed after a request with `Connection: close`', async t => {
  const gateway = await startGateway(t)
  const count = await answersBegun(t, async () => {
    t.same(
      await statuses(
        gateway,
        `GET /test HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n${filled(FLOODS['of nothing'])}`,
      ),
      [200],
    )
  })
  t.equal(count, 1)
})

t.test('a body in chunks is not read: its request is answered, and the connection closed', async t => {
  const gateway = await start(t)
  const head = 'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n'
  const count = await answersBegun(t, async () => {
    t.same(await statuses(gateway, head + filled('1\r\nx\r\n')), [426])
    t.same(await statuses(gateway, filled(`${head}0\r\n\r\n`)), [426])
  })
  t.equal(count, 2)
})

t.test('the limit of requests per connection also applies to known clients', async t => {
  const gateway = await startGateway(t)
  const socket = connect(gateway.httpPort, '127.0.0.1').on('error', () => undefined)
  const count = await answersBegun(t, async () => {
    const request = FLOODS['of nothing']
    for (let i = 0; i < 20; i++) {
      socket.write(request.repeat(50))
      let answers = 0
      while (answers < 50) answers += String((await once(socket, 'data'))[0]).split('HTTP/1.1 404').length - 1
    }
    await new Promise(resolve => socket.resume().once('close', resolve))
  })
  t.equal(count, 1000)
})

t.test('pipelined requests of an unknown client within the limit are answered in order', async t => {
  const gateway = await start(t)
  const few = 'GET /test HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(15)
  t.same(
    await statuses(gateway, `${few}GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`),
    Array(16).fill(200),
  )
  const many = await statuses(gateway, few.repeat(2))
  t.same(many, [...Array(16).fill(200), 429], 'the others first, then why no more')
})
