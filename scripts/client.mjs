/**
 * A small JSON client, to try the gateway by hand. Prints your user id, then every message.
 *   node scripts/client.mjs EMAIL PASSWORD                   logs in (registers if need be), then listens
 *   node scripts/client.mjs EMAIL PASSWORD send EMAIL TEXT   logs in, sends one message, ends
 *   node scripts/client.mjs EMAIL PASSWORD id EMAIL          logs in, prints the id of that user, ends
 * Address of the gateway: option --url, else CHAT_URL, else ws://127.0.0.1:8080/.
 */
import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { WebSocket } from 'ws'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { url: { type: 'string', default: process.env.CHAT_URL ?? 'ws://127.0.0.1:8080/' } },
})
const [email, password, command, recipient, ...words] = positionals
const isKnown = command === undefined || ((command === 'send' || command === 'id') && recipient)
if (!email || !password || !isKnown) {
  console.error('usage: node scripts/client.mjs [--url URL] EMAIL PASSWORD [send EMAIL TEXT | id EMAIL]')
  process.exit(2)
}
const url = new URL(values.url)
url.searchParams.set('lang', 'en')
const ws = new WebSocket(url)
const replies = []
ws.on('message', data => {
  const frame = JSON.parse(String(data))
  // docs/protocol.md, section 1, says how to tell frames apart.
  if ('code' in frame) replies.shift()?.(frame)
  else if (!('key' in frame)) console.log(String(data))
})
ws.on('error', error => {
  console.error(`${url}: ${error.message}`)
  process.exit(1)
})
/** Replies come in the order of requests. */
const ask = request =>
  new Promise(resolve => {
    replies.push(resolve)
    ws.send(JSON.stringify(request))
  })
const action = (name, data) => ask({ type: 'action', action: name, data })
const fail = reply => {
  console.error(JSON.stringify(reply))
  process.exit(1)
}

const WRONG_PASSWORD = 10000

await once(ws, 'open')
let login = await action('login', { email, password })
if (login.code === WRONG_PASSWORD) {
  const [firstName] = email.split('@')
  const registered = await action('register', { email, password, firstName, lastName: 'Tester' })
  // The account exists, so the password was wrong.
  if (registered.code !== 203) fail(login)
  login = await action('login', { email, password })
}
if (login.code !== 202) fail(login)
const me = await action('query', { email })
// On stderr, because stdout is for the result.
console.error(`you are ${me.data[0].id}`)
if (command === undefined) ws.on('close', code => console.error(`closed (${code})`))
else {
  const found = await action('query', { email: recipient })
  const id = found.data?.[0]?.id
  if (id === undefined) fail({ msg: `no user ${recipient}` })
  if (command === 'id') console.log(id)
  else {
    const content = words.join(' ')
    const reply = await ask({ type: 'message', data: { recipient: id, content } })
    if (reply.code !== 201) fail(reply)
    console.log(JSON.stringify(reply))
  }
  ws.close()
}
