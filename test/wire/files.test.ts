/** Files over real sockets: announced, uploaded, sent, read by a link; and who tries to get more out of it. */
import { createHash, randomBytes } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import t, { type Test } from 'tap'
import { askAdmin } from '../helpers/admin.js'
import {
  type JsonClient,
  jsonClient,
  loggedIn,
  mqttClient,
  type Reply,
  register,
  startGateway,
} from '../helpers/gateway.js'
import { s3Server } from '../helpers/s3.js'

const gateway = await startGateway(t, {
  'files.maxSize': 300_000,
  'files.quota': 500_000,
  'files.minFree': 0,
  'limits.registrations': 1000,
  'limits.handshakeTimeout': '3s',
})

interface Slot {
  readonly id: string
  readonly url: string
  readonly headers: Record<string, string>
}

interface Sent {
  readonly sender: string
  readonly content: string
  readonly text: string
  readonly files: readonly { readonly id: string; readonly url: string }[]
}

/** The smallest PNG. */
const PNG = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
)

async function slotOf(client: JsonClient, name: string, size: number, type?: string): Promise<Slot> {
  const reply = await client.action('uploadSlot', { name, size, type }, 'slot')
  if (reply.code !== 200) throw new Error(JSON.stringify(reply))
  return reply.data as Slot
}

const put = ({ url, headers }: Slot, body: Buffer) => fetch(url, { method: 'PUT', headers, body })

/** @returns the id */
async function uploaded(client: JsonClient, name: string, body: Buffer): Promise<string> {
  const slot = await slotOf(client, name, body.length)
  const response = await put(slot, body)
  if (response.status !== 201) throw new Error(await response.text())
  return slot.id
}

const send = (client: JsonClient, recipient: string, files: readonly string[], content?: string) =>
  client.ask({ type: 'message', id: 'm', data: { recipient, files, content } })

const linkIn = (content: string): string => /\S+$/.exec(content)?.[0] ?? ''

async function linkOf(client: JsonClient, file: string): Promise<string> {
  const { data } = await client.action('fileLink', { file }, 'link')
  return (data as { url: string }).url
}

/** Bytes of files on the disk, by path. */
const kept = (): string[] =>
  readdirSync(join(gateway.dir, 'files'), { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name))

/** Resolves when the server has cleaned up behind an upload that broke off. */
async function refusalOf(file: string): Promise<void> {
  while (!gateway.logs.some(line => line.event === 'file.refused' && line.file === file))
    await new Promise(resolve => setTimeout(resolve, 10))
}

t.test('an old client gets a line with a link, and reads the file by it, whole and in part', async t => {
  const ann = await loggedIn(t, gateway)
  const bob = await register(t, gateway)
  const old = await loggedIn(t, gateway, bob)
  const bytes = randomBytes(200_000)
  const slot = await slotOf(ann, '報告 "1".bin', bytes.length)
  t.match(slot.url, new RegExp(`^${gateway.http}/files/${ann.userId}-[\\w-]{22}$`))
  const response = await put(slot, bytes)
  t.equal(response.status, 201)
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  t.match(await response.json(), { id: slot.id, size: 200_000, type: 'application/octet-stream', sha256 })
  t.match(await send(ann, bob.id, [slot.id], 'look'), { code: 201 })
  const message = await old.next<Sent>()
  t.same(Object.keys(message), ['sender', 'recipient', 'content', 'created_at'])
  t.match(message.content, /^look\n\[報告 _1_.bin, 200 KB\] http:/)
  const url = linkIn(message.content)

  const whole = await fetch(url)
  t.equal(whole.status, 200)
  t.same(Buffer.from(await whole.arrayBuffer()), bytes)
  const { headers } = whole
  t.match(
    headers.get('content-disposition'),
    /^attachment; .*filename\*=UTF-8''%E5%A0%B1%E5%91%8A%20_1_.bin$/,
  )
  t.equal(headers.get('x-content-type-options'), 'nosniff')
  t.equal(headers.get('content-security-policy'), "sandbox; default-src 'none'")
  t.equal(headers.get('referrer-policy'), 'no-referrer')
  t.equal(headers.get('etag'), `"${sha256}"`)

  const part = await fetch(url, { headers: { Range: 'bytes=100-199' } })
  t.equal(part.status, 206)
  t.equal(part.headers.get('content-range'), 'bytes 100-199/200000')
  t.same(Buffer.from(await part.arrayBuffer()), bytes.subarray(100, 200))
  const last = await fetch(url, { headers: { Range: 'bytes=-5' } })
  t.same(Buffer.from(await last.arrayBuffer()), bytes.subarray(-5))
  const beyond = await fetch(url, { headers: { Range: 'bytes=200000-' } })
  t.equal(beyond.status, 416)
  t.equal(beyond.headers.get('content-range'), 'bytes */200000')
  const longer = await fetch(url, { headers: { Range: 'bytes=-200001' } })
  t.equal(longer.headers.get('content-range'), 'bytes 0-199999/200000', 'the last bytes of fewer are all')
  await longer.body?.cancel()
  const backwards = await fetch(url, { headers: { Range: 'bytes=5-2' } })
  t.equal(backwards.status, 200, 'what is no range is ignored')
  await backwards.body?.cancel()
  const none = await fetch(url, { headers: { Range: 'bytes=-0' } })
  t.equal(none.status, 416)
  const many = await fetch(url, { headers: { Range: 'bytes=0-1,3-4,6-7' } })
  t.equal(many.status, 200, 'several ranges get the whole')
  await many.body?.cancel()
  const other = await fetch(url, { headers: { Range: 'bytes=0-1', 'If-Range': '"x"' } })
  t.equal(other.status, 200, 'a range of another file gets the whole')
  await other.body?.cancel()
  const same = await fetch(url, { headers: { 'If-None-Match': `W/"x", "${sha256}"` } })
  t.equal(same.status, 304)
  const head = await fetch(url, { method: 'HEAD' })
  t.equal(head.headers.get('content-length'), '200000')
  t.equal((await fetch(url, { method: 'POST' })).status, 405)
})

t.test('whoever asked for an extension gets files and text, history and MQTT as well', async t => {
  const ann = await loggedIn(t, gateway)
  const bob = await register(t, gateway)
  const device = await mqttClient(t, gateway, {
    ...{ clientId: 'files', username: bob.email, password: bob.password },
  })
  await device.mqtt.subscribeAsync(`users/${bob.id}/inbox/+`, { qos: 1 })
  const file = await uploaded(ann, 'dot.png', PNG)
  t.match(await send(ann, bob.id, [file]), { code: 201 })
  const extended = await loggedIn(t, gateway, bob, { device: 'new', from: 'start' })
  const message = await extended.next<Sent>()
  t.match(message, { text: '', files: [{ id: file, name: 'dot.png', size: PNG.length, type: 'image/png' }] })
  t.match(message.content, /^\[dot.png, 70 B\] http/, 'content reads for itself, and is never empty')
  const shown = await fetch(message.files[0]?.url ?? '')
  t.equal(shown.headers.get('content-disposition'), 'inline; filename="dot.png"', 'a picture may be shown')
  t.same(Buffer.from(await shown.arrayBuffer()), PNG)
  const { payload } = await device.next()
  t.match(JSON.parse(payload), { content: message.content, text: '', files: [{ id: file }] })
  const history = await extended.action('history', { with: ann.userId }, 'h')
  t.match(history.data, { messages: [{ text: '', files: [{ id: file }] }] })
})

t.test(
  'only reader and owner get links; a message takes only files that are the sender’s, and whole',
  async t => {
    const [ann, bob, eve] = [
      await loggedIn(t, gateway),
      await loggedIn(t, gateway),
      await loggedIn(t, gateway),
    ]
    const file = await uploaded(ann, 'a', randomBytes(10))
    const ask = (client: JsonClient) => client.action('fileLink', { file }, 'l')
    t.match(await ask(bob), { code: 10170 }, 'no message with it was sent to him yet')
    t.match(await send(eve, bob.userId, [file]), { code: 10170, data: { field: 'file' } })
    t.match(await send(ann, bob.userId, [file, `${ann.userId}-${'x'.repeat(22)}`]), { code: 10170 })
    t.match(await ask(bob), { code: 10170 })
    const half = await slotOf(ann, 'b', 10)
    t.match(await send(ann, bob.userId, [half.id]), { code: 10170 })
    t.match(await send(ann, bob.userId, ['../../etc/passwd']), { code: 10170 })
    t.match(await send(ann, '999999999', [file]), { code: 10010 })
    t.match(await send(ann, bob.userId, [file, file]), { code: 201 })
    t.equal((await bob.next<Sent>()).content.split('\n').length, 1, 'a file is sent once')
    for (const client of [ann, bob]) t.match(await ask(client), { code: 200, data: { id: file } })
    t.match(await ask(eve), { code: 10170 })
    t.match(await ann.ask({ type: 'message', data: { recipient: bob.userId, files: [] } }), { code: 10101 })
    t.match(await ann.ask({ type: 'message', data: { recipient: bob.userId } }), { code: 10101 })
    t.match(await ann.ask({ type: 'message', data: { recipient: bob.userId, content: '' } }), { code: 10101 })
  },
)

t.test(
  'an image has a thumbnail, which is made once; what is none, or cannot be decoded, has none',
  async t => {
    const [ann, bob] = [await loggedIn(t, gateway), await register(t, gateway)]
    const reader = await loggedIn(t, gateway, bob, { ack: 'explicit' })
    const large = await sharp({ create: { width: 900, height: 600, channels: 3, background: 'red' } })
      .jpeg()
      .toBuffer()
    const files = [
      await uploaded(ann, 'a.jpg', large),
      await uploaded(ann, 'broken.png', Buffer.from(PNG).fill(0xff, 41, 54)),
      await uploaded(ann, 'a.txt', Buffer.from('text')),
    ]
    await send(ann, bob.id, files)
    const { files: got } = await reader.next<{ files: { url: string; thumbnail?: string }[] }>()
    t.same(
      got.map(({ url, thumbnail }) => thumbnail === `${url}/thumbnail`),
      [true, true, false],
    )
    for (const _ of [1, 2]) {
      const small = await fetch(got[0]?.thumbnail ?? '')
      t.equal(small.status, 200)
      t.equal(small.headers.get('content-type'), 'image/jpeg')
      t.equal(small.headers.get('content-security-policy'), "sandbox; default-src 'none'")
      const { width, height } = await sharp(Buffer.from(await small.arrayBuffer())).metadata()
      t.same([width, height], [320, 213])
      t.equal((await fetch(got[1]?.thumbnail ?? '')).status, 404)
    }
    t.equal((await fetch(`${got[2]?.url}/thumbnail`)).status, 404)
    t.equal((await fetch(`${got[0]?.url}/other`)).status, 404)
    const ofAnn = () => kept().filter(path => path.includes(ann.userId))
    t.equal(ofAnn().filter(path => path.includes('thumbnails')).length, 2, 'and one that says there is none')
    for (const file of files) await ann.action('removeFile', { file }, 'r')
    t.same(ofAnn(), [], 'a thumbnail goes with its file')
  },
)

t.test('a link is good for its file, and only as it was made', async t => {
  const ann = await loggedIn(t, gateway)
  const [one, two] = [await uploaded(ann, 'a', randomBytes(10)), await uploaded(ann, 'b', randomBytes(10))]
  const url = await linkOf(ann, one)
  const token = url.split('/').at(-1) ?? ''
  const statusOf = async (path: string) => (await fetch(`${gateway.http}/files/${path}`)).status
  t.equal(await statusOf(`${one}/${token}`), 200)
  t.equal(await statusOf(`${two}/${token}`), 404, 'of another file')
  const [first = ''] = token
  const changed = `${first === 'A' ? 'B' : 'A'}${token.slice(1)}`
  for (const bad of [changed, '', 'x', `${token}A`, token.toLowerCase(), '%00', `${token}/../..`])
    t.equal(await statusOf(`${one}/${bad}`), 404, bad)
  const slot = await slotOf(ann, 'c', 10)
  const uploadToken = slot.headers.Authorization?.split(' ')[1]
  t.equal(await statusOf(`${one}/${uploadToken}`), 404, 'that of an upload')
  t.intercept(Date, 'now', { value: () => NOW + 9 * 86_400_000 })
  const late = await fetch(url)
  t.equal(late.status, 410)
  t.match(await late.json(), { code: 10174 })
})

const NOW = Date.now()

t.test('a link in a message that waits is made when it is delivered, and follows no Host header', async t => {
  const ann = await loggedIn(t, gateway)
  const bob = await register(t, gateway)
  const file = await uploaded(ann, 'a', randomBytes(10))
  await send(ann, bob.id, [file])
  const poisoned = await jsonClient(t, gateway, '/', { headers: { Host: 'evil.example' } })
  await poisoned.action('login', { email: bob.email, password: bob.password })
  const { content } = await poisoned.next<Sent>()
  t.equal(new URL(linkIn(content)).origin, gateway.http)
})

t.test('an upload: exactly the bytes that were announced, once, by the token, in time', async t => {
  const ann = await loggedIn(t, gateway)
  const bytes = randomBytes(1000)
  const slot = await slotOf(ann, 'a', 1000)
  t.match(await (await put(slot, bytes.subarray(1))).json(), { code: 10173 })
  t.match(await (await put(slot, Buffer.concat([bytes, bytes]))).json(), { code: 10173 })
  for (const header of [{ 'Content-Range': 'bytes 0-999/1000' }, { 'Content-Encoding': 'gzip' }])
    t.match(
      await (await put({ ...slot, headers: { ...slot.headers, ...header } }, bytes)).json(),
      { code: 10101 },
      'no part, and nothing packed',
    )
  const { Authorization: _, ...none } = slot.headers
  t.equal((await put({ ...slot, headers: none }, bytes)).status, 401)
  const other = await slotOf(ann, 'b', 1000)
  t.equal((await put({ ...slot, headers: other.headers }, bytes)).status, 404)
  t.equal(
    (await fetch(`${gateway.http}/files/x`, { method: 'PUT', ...{ headers: slot.headers, body: bytes } }))
      .status,
    404,
  )
  t.equal((await put(slot, bytes)).status, 201)
  t.match(await (await put(slot, bytes)).json(), { code: 10173 }, 'once')
  t.intercept(Date, 'now', { value: () => NOW + 86_400_000 })
  t.equal((await put(other, bytes)).status, 410)
})

t.test('quota, size and number are told before a byte is sent', async t => {
  const ann = await loggedIn(t, gateway)
  const ask = (data: object): Promise<Reply> => ann.action('uploadSlot', data, 's')
  t.match(await ask({ name: 'a', size: 300_001 }), { code: 10103, data: { field: 'size' } })
  t.match(await ask({ name: 'a', size: 0 }), { code: 10101 })
  t.match(await ask({ name: 'a', size: 1.5 }), { code: 10101 })
  t.match(await ask({ name: '', size: 1 }), { code: 10101 })
  t.match(await ask({ name: 'a', size: 1, type: 'text/html; charset=x' }), { code: 10101 })
  const first = await slotOf(ann, 'a', 300_000)
  t.match(await ask({ name: 'a', size: 300_000 }), { code: 10171 })
  t.match(await ann.action('files', {}, 'f'), { data: { bytes: 300_000, quota: 500_000 } })
  const shown = await askAdmin(gateway, 'user.show', { user: ann.userId })
  t.match(shown.data, { files: { count: 1, bytes: 300_000 } }, 'as the operator sees it')
  t.match(await ann.action('removeFile', { file: first.id }, 'f'), { code: 200 })
  t.equal((await put(first, randomBytes(300_000))).status, 404, 'what was removed is not uploaded')
  await slotOf(ann, 'a', 300_000)
})

t.test('what a browser would run is never shown by our origin, whatever name and type it has', async t => {
  const ann = await loggedIn(t, gateway)
  const html = '<html><script>alert(1)</script></html>'
  const cases: [string, string, string][] = [
    ['x.html', html, 'text/plain'],
    [
      'x.svg',
      `<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`,
      'text/plain',
    ],
    ['x.png', html, 'text/plain'],
    ['x.pdf', '%PDF-1.7\n', 'application/pdf'],
    ['x.js', 'alert(1)', 'text/plain'],
    ['x', '\0binary', 'application/octet-stream'],
  ]
  for (const [name, text, type] of cases) {
    const response = await fetch(await linkOf(ann, await uploaded(ann, name, Buffer.from(text))))
    t.match(response.headers.get('content-type'), type, name)
    t.match(response.headers.get('content-disposition'), /^attachment; /, name)
    t.match(response.headers.get('content-security-policy'), /^sandbox; default-src 'none'$/)
  }
  // A picture that is HTML as well is a picture to whoever asks.
  const both = Buffer.concat([PNG, Buffer.from(html)])
  const polyglot = await fetch(await linkOf(ann, await uploaded(ann, 'x.html', both)))
  t.equal(polyglot.headers.get('content-type'), 'image/png')
  t.equal(polyglot.headers.get('x-content-type-options'), 'nosniff')
})

t.test('a name is no path, and hides nothing', async t => {
  const ann = await loggedIn(t, gateway)
  const names = [
    ['../../../etc/passwd', 'passwd'],
    ['C:\\x\\boot.ini', 'boot.ini'],
    ['a\nSet-Cookie: x=1', 'aSet-Cookie_ x=1'],
    ['annexe\u202egpj.exe', 'annexegpj.exe'],
    ['..', 'file'],
    ['\u200b', 'file'],
  ]
  for (const [name = '', clean] of names) {
    const { id } = await slotOf(ann, name, 1)
    const { data } = await ann.action('files', {}, 'f')
    t.match(
      (data as { files: { id: string; name: string }[] }).files.find(file => file.id === id)?.name,
      clean,
    )
  }
})

t.test('files in a bucket: the same to clients, and nothing left of them on the disk', async t => {
  const bucket = t.testdir()
  const server = await s3Server(t, bucket)
  const settings = Object.fromEntries(
    Object.entries(server).map(([key, value]) => [`files.s3.${key}`, value]),
  )
  const inBucket = await startGateway(t, { 'files.storage': 's3', 'files.minFree': 0, ...settings })
  const account = await register(t, inBucket)
  const ann = await loggedIn(t, inBucket, account)
  const bytes = randomBytes(200_000)
  const file = await uploaded(ann, 'a.bin', bytes)
  const url = await linkOf(ann, file)
  t.same(Buffer.from(await (await fetch(url)).arrayBuffer()), bytes)
  const part = await fetch(url, { headers: { Range: 'bytes=100-199' } })
  t.equal(part.status, 206)
  t.same(Buffer.from(await part.arrayBuffer()), bytes.subarray(100, 200))
  t.same(readdirSync(join(inBucket.dir, 'files', 'incoming')), [])
  t.match(await ann.action('delete', { password: account.password }), { code: 200 })
  t.equal((await fetch(url)).status, 404)
  const left = readdirSync(bucket, { recursive: true, encoding: 'utf8' }).filter(path =>
    path.includes(file.slice(10)),
  )
  t.same(left, [], 'a deletion removes what is in the bucket')
})

t.test('a deleted account leaves no file, and its links are good no more', async t => {
  const account = await register(t, gateway)
  const ann = await loggedIn(t, gateway, account)
  const bob = await loggedIn(t, gateway)
  const marked = Buffer.from(`marked ${account.id} marked`)
  const file = await uploaded(ann, 'a', marked)
  await send(ann, bob.userId, [file])
  const url = linkIn((await bob.next<Sent>()).content)
  t.equal((await fetch(url)).status, 200)
  t.ok(kept().some(path => readFileSync(path).includes(marked)))
  t.match(await ann.action('delete', { password: account.password }), { code: 200 })
  t.equal((await fetch(url)).status, 404)
  t.notOk(kept().some(path => path.includes(account.id) || readFileSync(path).includes(marked)))
})

t.test('a body that does not move is cut off, and leaves nothing', async (t: Test) => {
  const ann = await loggedIn(t, gateway)
  const slot = await slotOf(ann, 'a', 100_000)
  const slow = new ReadableStream({ start: stream => stream.enqueue(randomBytes(1000)) })
  const headers = { ...slot.headers, 'Content-Length': '100000' }
  await t.rejects(fetch(slot.url, { method: 'PUT', headers, body: slow, duplex: 'half' } as RequestInit))
  await refusalOf(slot.id)
  t.notOk(kept().some(path => path.includes('incoming')))
  t.equal((await put(slot, randomBytes(100_000))).status, 201, 'it may be tried again')
})
