/** Resumable uploads over real HTTP, by tus-js-client and by hand. */
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { appendFileSync, statSync, writeFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Upload } from 'tus-js-client'
import { FileRows } from '../../src/files/rows.js'
import {
  type JsonClient,
  jsonClient,
  loggedIn,
  register,
  startGateway,
  storeOf,
  type TestAccount,
} from '../helpers/gateway.js'

const SETTINGS = {
  'files.maxSize': 1_000_000,
  'files.minFree': 0,
  'limits.registrations': 1000,
  'limits.handshakeTimeout': '3s',
}
/** Gateways stay until all tests are done. */
const all = t
let gateway = await startGateway(all, SETTINGS)

/** A client with an access token. */
async function withToken(t: Test, account?: TestAccount) {
  const { email, password, id } = account ?? (await register(t, gateway))
  const client = await jsonClient(t, gateway)
  const reply = await client.action('login', { email, password, token: true })
  client.userId = id
  const { token } = reply.data as { token: string }
  return { client, headers: { Authorization: `Bearer ${token}` } }
}

const uploads = () => `${gateway.http}/api/v1/uploads`

interface Asked {
  readonly headers: Record<string, string>
}

const TUS = { 'Tus-Resumable': '1.0.0' }

function create({ headers }: Asked, size: number, more: Record<string, string> = {}): Promise<Response> {
  return fetch(uploads(), {
    method: 'POST',
    headers: { ...TUS, ...headers, 'Upload-Length': String(size), ...more },
  })
}

const urlOf = (response: Response): string =>
  new URL(response.headers.get('location') ?? '', gateway.http).href
const idOf = (url: string): string => url.split('/').at(-1) ?? ''

const patch = (url: string, { headers }: Asked, offset: number, body: Buffer, more = {}): Promise<Response> =>
  fetch(url, {
    method: 'PATCH',
    headers: {
      ...{ ...TUS, ...headers, 'Upload-Offset': String(offset) },
      ...{ 'Content-Type': 'application/offset+octet-stream', ...more },
    },
    body,
  })

async function offsetOf(url: string, { headers }: Asked): Promise<number | null> {
  const response = await fetch(url, { method: 'HEAD', headers: { ...TUS, ...headers } })
  return response.status === 200 ? Number(response.headers.get('upload-offset')) : null
}

/** What is read by a link of the file. */
async function read(client: JsonClient, file: string): Promise<Buffer> {
  const { data } = await client.action('fileLink', { file }, 'l')
  return Buffer.from(await (await fetch((data as { url: string }).url)).arrayBuffer())
}

/** Bytes that are there of an upload. */
const sizeOnDisk = (url: string): number =>
  statSync(join(gateway.dir, 'files', 'incoming', idOf(url)), { throwIfNoEntry: false })?.size ?? 0

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise(resolve => setTimeout(resolve, 20))
}

t.test('a client of the protocol uploads in pieces; the name and the id are those of a file', async t => {
  const asker = await withToken(t)
  const bytes = randomBytes(300_000)
  const url = await new Promise<string>((resolve, reject) => {
    const upload = new Upload(bytes, {
      endpoint: uploads(),
      headers: asker.headers,
      chunkSize: 100_000,
      metadata: { filename: '報告.bin', filetype: 'application/octet-stream' },
      onError: reject,
      onSuccess: () => resolve(upload.url ?? ''),
    })
    upload.start()
  })
  const { data } = await asker.client.action('files', {}, 'f')
  t.match(data, { files: [{ id: idOf(url), name: '報告.bin', size: 300_000, uploaded: true }] })
  t.same(await read(asker.client, idOf(url)), bytes)
  const bob = await withToken(t)
  const message = { recipient: bob.client.userId, files: [idOf(url)] }
  t.match(await asker.client.ask({ type: 'message', data: message }), { code: 201 })
})

t.test('an upload that broke off goes on where it was, also after a restart of the gateway', async t => {
  const account = await register(t, gateway)
  const asker = await withToken(t, account)
  const bytes = randomBytes(400_000)
  const created = await create(asker, bytes.length)
  t.equal(created.status, 201)
  t.ok(created.headers.get('upload-expires'))
  const path = new URL(urlOf(created)).pathname
  const broken = httpRequest(urlOf(created), {
    method: 'PATCH',
    headers: {
      ...{ ...TUS, ...asker.headers, 'Upload-Offset': '0', 'Content-Length': bytes.length },
      'Content-Type': 'application/offset+octet-stream',
    },
  })
  broken.on('error', () => undefined)
  broken.write(bytes.subarray(0, 350_000))
  await until(() => sizeOnDisk(path) > 200_000)
  broken.destroy()
  await gateway.close()
  gateway = await startGateway(all, { ...SETTINGS, 'data.dir': gateway.dir })
  const again = await withToken(t, account)
  const url = gateway.http + path
  const offset = (await offsetOf(url, again)) ?? 0
  t.ok(offset >= 200_000 && offset < 400_000, `${offset} bytes were kept`)
  t.equal((await patch(url, again, 0, bytes)).status, 409, 'at another offset')
  t.equal((await patch(url, again, offset, bytes.subarray(offset))).status, 204)
  t.same(await read(again.client, idOf(url)), bytes)
  t.equal(await offsetOf(url, again), 400_000)
})

t.test('a message with a file waits over a restart, and its link is made when it is delivered', async t => {
  const [ann, account] = [await withToken(t), await register(t, gateway)]
  const bytes = randomBytes(1000)
  const url = urlOf(await create(ann, 1000))
  t.equal((await patch(url, ann, 0, bytes)).status, 204)
  const data = { recipient: account.id, content: 'look', files: [idOf(url)] }
  t.match(await ann.client.ask({ type: 'message', data }), { code: 201 })
  await gateway.close()
  gateway = await startGateway(all, { ...SETTINGS, 'data.dir': gateway.dir })
  const bob = await loggedIn(t, gateway, account)
  const { content } = await bob.next<{ content: string }>()
  const [, link = ''] = /^look\n\[file, 1 KB\] (http\S+)$/.exec(content) ?? []
  t.ok(link.startsWith(gateway.http), content)
  t.same(Buffer.from(await (await fetch(link)).arrayBuffer()), bytes)
})

t.test('all bytes came and a kill before the end: the next HEAD ends it', async t => {
  const account = await register(t, gateway)
  const asker = await withToken(t, account)
  const bytes = randomBytes(1000)
  const { pathname } = new URL(urlOf(await create(asker, 1000)))
  await patch(gateway.http + pathname, asker, 0, bytes.subarray(0, 500))
  await gateway.close()
  const { dir } = gateway
  writeFileSync(join(dir, 'files', 'incoming', idOf(pathname)), bytes)
  const store = storeOf(dir)
  await store.open()
  const rows = new FileRows(store.kv)
  const row = await rows.find(idOf(pathname))
  if (row === undefined) throw new Error('no row')
  t.equal(row.offset, 500)
  await rows.put({ ...row, offset: 1000 })
  await store.close()
  gateway = await startGateway(all, { ...SETTINGS, 'data.dir': dir })
  const again = await withToken(t, account)
  t.equal(await offsetOf(gateway.http + pathname, again), 1000)
  t.same(await read(again.client, idOf(pathname)), bytes)
})

t.test('bytes that no request has acknowledged, and no checksum covered, do not count', async t => {
  const asker = await withToken(t)
  const bytes = randomBytes(1000)
  const url = urlOf(await create(asker, 1000))
  await patch(url, asker, 0, bytes.subarray(0, 500))
  // As a kill leaves them.
  appendFileSync(join(gateway.dir, 'files', 'incoming', idOf(url)), randomBytes(300))
  t.equal(await offsetOf(url, asker), 500)
  t.equal((await patch(url, asker, 500, bytes.subarray(500, 600))).status, 204)
  t.equal(sizeOnDisk(url), 600, 'they are gone')
  t.equal((await patch(url, asker, 600, bytes.subarray(600))).status, 204)
  t.same(await read(asker.client, idOf(url)), bytes)
})

t.test('bytes with a wrong checksum are taken back', async t => {
  const asker = await withToken(t)
  const bytes = randomBytes(1000)
  const url = urlOf(await create(asker, 1000))
  const sum = (data: Buffer) => ({
    'Upload-Checksum': `sha256 ${createHash('sha256').update(data).digest('base64')}`,
  })
  const half = bytes.subarray(0, 500)
  t.equal((await patch(url, asker, 0, half, sum(half))).status, 204)
  t.equal((await patch(url, asker, 500, bytes.subarray(500), sum(half))).status, 460)
  t.equal(await offsetOf(url, asker), 500)
  t.equal((await patch(url, asker, 500, half, { 'Upload-Checksum': 'crc x' })).status, 400)
  t.equal((await patch(url, asker, 500, bytes.subarray(500), sum(bytes.subarray(500)))).status, 204)
  t.same(await read(asker.client, idOf(url)), bytes)
  const options = await fetch(uploads(), { method: 'OPTIONS' })
  t.equal(options.headers.get('tus-checksum-algorithm'), 'sha256,sha1,md5')
  t.match(options.headers.get('access-control-allow-headers'), 'Upload-Checksum')
  t.match(options.headers.get('access-control-expose-headers'), 'Upload-Expires')
  t.match(options.headers.get('tus-extension'), /creation.*expiration.*termination.*checksum/)
})

t.test('an upload is its owner’s alone, and needs a login', async t => {
  const [ann, eve] = [await withToken(t), await withToken(t)]
  const url = urlOf(await create(ann, 1000))
  t.equal((await create({ headers: {} }, 1000)).status, 401)
  t.equal((await create({ headers: { Authorization: 'Bearer x' } }, 1000)).status, 401)
  t.equal((await patch(url, eve, 0, randomBytes(1000))).status, 404)
  t.equal(await offsetOf(url, eve), null)
  t.equal((await fetch(url, { method: 'DELETE', headers: { ...TUS, ...eve.headers } })).status, 404)
  for (const id of ['x', '..%2f..%2fstore', `${ann.client.userId}-${'x'.repeat(22)}`])
    t.equal(await offsetOf(`${uploads()}/${id}`, ann), null, id)
  t.equal((await fetch(url, { method: 'DELETE', headers: { ...TUS, ...ann.headers } })).status, 204)
  t.equal(await offsetOf(url, ann), null)
})

t.test('limits and refusals have the numbers that they have everywhere', async t => {
  const asker = await withToken(t)
  t.equal((await create(asker, 1_000_001)).status, 413)
  t.equal((await create(asker, 0)).status, 400)
  const open = []
  for (let i = 0; i < 20; i++) open.push((await create(asker, 10)).status)
  t.same([...new Set(open)], [201])
  const refused = await create(asker, 10)
  t.equal(refused.status, 429)
  t.equal(refused.headers.get('retry-after'), '10')
  t.match(refused.headers.get('access-control-expose-headers'), /Retry-After/)
  t.match(await refused.json(), { code: 10171 })
  const url = urlOf(await create(await withToken(t), 1000, { Host: 'evil.example' }))
  t.match(url, gateway.http, 'no header of a request makes a link')
  const long = await withToken(t)
  const bytes = randomBytes(2000)
  const one = urlOf(await create(long, 1000))
  t.equal((await patch(one, long, 0, bytes)).status, 413, 'more than was announced')
})

t.test('a body in chunks is not taken', async t => {
  const asker = await withToken(t)
  const url = urlOf(await create(asker, 10))
  const asked = httpRequest(url, {
    method: 'PATCH',
    headers: {
      ...{ ...TUS, ...asker.headers, 'Upload-Offset': '0', 'Transfer-Encoding': 'chunked' },
      'Content-Type': 'application/offset+octet-stream',
    },
  })
  asked.on('error', () => undefined)
  asked.end('0123456789')
  const [response] = await once(asked, 'response')
  t.equal(response.statusCode, 400)
})
