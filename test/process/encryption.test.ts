/** The client that docs/encryption.md prints, as it is there: with a gateway, and with servers that are none. */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, symlinkSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { WebSocket, WebSocketServer } from 'ws'
import { loggedIn, register, startGateway } from '../helpers/gateway.js'
import { plainNode } from '../helpers/plain-node.js'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const [, client = ''] =
  /^```js\n([\s\S]*?)^```$/m.exec(readFileSync(join(ROOT, 'docs/encryption.md'), 'utf8')) ?? []

/** Prints what it gets, as lines of JSON. */
const MAIN = `
import { connect } from './client.mjs'
const [url, noted, requests] = process.argv.slice(2)
const all = JSON.parse(requests)
let left = all.length
const { send, close, ended } = await connect(url, noted, frame => {
  console.log(JSON.stringify(frame))
  if (frame.code !== undefined && --left === 0) close()
})
for (const request of all) await send(request)
console.log(JSON.stringify({ ended: (await ended).code }))
`

/** @returns exit code, and what it got */
async function run(t: Test, url: string, noted: string, requests: readonly object[]) {
  const dir = t.testdir({ 'client.mjs': client, 'main.mjs': MAIN })
  symlinkSync(join(ROOT, 'node_modules'), join(dir, 'node_modules'))
  const [file, args] = plainNode([join(dir, 'main.mjs'), url, noted, JSON.stringify(requests)])
  return new Promise<{ code: number; got: { code?: number; ended?: number }[]; stderr: string }>(resolve => {
    execFile(
      file,
      args,
      { timeout: 60_000, env: { PATH: process.env.PATH ?? '' } },
      (error, stdout, stderr) => {
        const got = stdout.split('\n').filter(line => line !== '')
        resolve({
          code: error === null ? 0 : Number(error.code ?? 1),
          got: got.map(line => JSON.parse(line)),
          stderr,
        })
      },
    )
  })
}

t.test('it logs in, sends, and gets messages; it is shorter than 60 lines', async t => {
  t.ok(client.split('\n').length <= 60)
  const gateway = await startGateway(t)
  const [ann, bob] = [await register(t, gateway), await register(t, gateway)]
  const plain = await loggedIn(t, gateway, bob)
  const message = (recipient: string, content: string) => ({ type: 'message', data: { recipient, content } })
  plain.send(message(ann.id, '你好'))
  t.match(await plain.next(), { code: 201 })
  const noted = await greetedKey(t, gateway)
  const { email, password } = ann
  const { code, got, stderr } = await run(t, `ws://127.0.0.1:${gateway.httpPort}/`, noted, [
    { type: 'action', action: 'login', data: { email, password, ack: 'explicit' } },
    message(bob.id, 'hello'),
    { type: 'action', action: 'ack', data: { seq: 1 } },
  ])
  t.strictSame([code, stderr], [0, ''])
  t.strictSame(
    got.flatMap(({ code }) => code ?? []),
    [202, 201, 200],
  )
  t.match(
    got.find(frame => 'sender' in frame),
    { sender: bob.id, content: '你好' },
  )
  t.match(await plain.next(), { sender: ann.id, content: 'hello' })
  t.match(got.at(-1), { ended: Number }, 'and is told of the end')
})

/** As somebody would note it. */
async function greetedKey(t: Test, { httpPort }: { httpPort: number }): Promise<string> {
  const ws = new WebSocket(`ws://127.0.0.1:${httpPort}/`)
  t.teardown(() => ws.terminate())
  const [greeting] = await once(ws, 'message')
  return JSON.parse(String(greeting)).key
}

/** A server of one's own. @returns its URL, and the frames that it got */
async function impostor(t: Test, greet: (socket: WebSocket) => void) {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  t.teardown(() => server.close())
  const got: string[] = []
  server.on('connection', socket => {
    socket.on('message', data => got.push(String(data)))
    greet(socket)
  })
  await once(server, 'listening')
  return { url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}/`, got }
}

t.test(
  'it sends nothing to a server with another key, and no password to one that answers in plain',
  async t => {
    const key = '09'.padEnd(64, '0')
    let closed: Promise<unknown> = Promise.resolve()
    const other = await impostor(t, socket => {
      closed = once(socket, 'close')
      socket.send(JSON.stringify({ key }))
    })
    const refused = await run(t, other.url, key.replace('9', '8'), [{ type: 'action' }])
    t.match(refused, { code: 1, stderr: /not the server whose key was noted/ })
    t.strictSame(other.got, [])
    await closed

    const leaving = await impostor(t, socket => socket.close(4001, 'no'))
    t.match(await run(t, leaving.url, key, []), { code: 1, stderr: /the connection ended: 4001 no/ })
    t.match(await run(t, 'ws://127.0.0.1:1/', key, []), { code: 1, stderr: /the connection ended: 1006/ })

    const plain = await impostor(t, socket => {
      socket.send(JSON.stringify({ key }))
      socket.once('message', () => socket.send(JSON.stringify({ key })))
    })
    t.match(await run(t, plain.url, key, [{ type: 'action', data: { password: 'secret' } }]), {
      code: 1,
      got: [],
    })
    t.equal(plain.got.length, 1)
    t.match(plain.got[0], /^\{"type":"encrypted","data":\{"ct":"[^"]{24}","enc":"[^"]{44}"\}\}$/)
  },
)
