/**
 * A small JSON client, to try the gateway by hand; it prints every frame it gets.
 *   node scripts/client.mjs EMAIL PASSWORD                   registers if need be, logs in, lists users, listens
 *   node scripts/client.mjs EMAIL PASSWORD send EMAIL TEXT   the same, sends one message, ends
 * The address is MUMI_URL, or ws://127.0.0.1:8080/.
 */
import { once } from 'node:events'
import { WebSocket } from 'ws'

const [email, password, command, recipient, ...words] = process.argv.slice(2)
if (!email || !password || (command && command !== 'send')) {
  console.error('usage: node scripts/client.mjs EMAIL PASSWORD [send EMAIL TEXT]')
  process.exit(2)
}
const ws = new WebSocket(process.env.MUMI_URL ?? 'ws://127.0.0.1:8080/')
const replies = []
ws.on('message', data => {
  console.log(String(data))
  const frame = JSON.parse(String(data))
  if ('code' in frame) replies.shift()?.(frame)
})
ws.on('error', error => {
  console.error(error.message)
  process.exit(1)
})
const ask = request =>
  new Promise(resolve => {
    replies.push(resolve)
    ws.send(JSON.stringify(request))
  })
const action = (name, data) => ask({ type: 'action', action: name, data })

await once(ws, 'open')
const [firstName] = email.split('@')
await action('register', { email, password, firstName, lastName: 'Tester' })
const login = await action('login', { email, password })
if (login.code !== 202) process.exit(1)
if (command === 'send') {
  const found = await action('query', { email: recipient })
  const reply = await ask({
    type: 'message',
    data: { recipient: found.data[0]?.id ?? '', content: words.join(' ') },
  })
  ws.close()
  process.exitCode = reply.code === 201 ? 0 : 1
} else {
  await action('query', {})
}
