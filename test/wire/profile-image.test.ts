/** The profile image, end to end: sent by REST, shown in query replies, served, removed; and what is refused. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import t from 'tap'
import { dataDir, loggedIn, startGateway } from '../helpers/gateway.js'
import { restAccount } from '../helpers/rest.js'

const dir = dataDir(t)
const audit = join(dir, 'audit.log')
const gateway = await startGateway(t, {
  'data.dir': dir,
  'audit.file': audit,
  'http.publicUrl': 'https://chat.example',
  'images.maxBytes': '64KiB',
  'images.maxPixels': 1_000_000,
  'images.timeout': '1m',
  'limits.images': 12,
  'sessions.multiple': 'allow',
})

const photo = (width: number, height: number, background = '#3366cc') =>
  sharp({ create: { width, height, channels: 3, background } })

async function put(token: string, body: Buffer, type = 'image/jpeg') {
  const headers = { authorization: `Bearer ${token}`, 'content-type': type }
  const response = await fetch(`${gateway.http}/api/v1/me/image`, { method: 'PUT', headers, body })
  return { status: response.status, json: JSON.parse((await response.text()) || 'null') }
}

const get = (path: string, headers = {}, method = 'GET') => fetch(gateway.http + path, { headers, method })

t.test('an image is sent, found, served as what it is and nothing else, and removed', async t => {
  const ann = await restAccount(t, gateway)
  const reader = await loggedIn(t, gateway)
  const file = await photo(600, 400)
    .jpeg()
    .withExif({ IFD0: { Copyright: 'WHERE-I-LIVE' } })
    .toBuffer()
  const { status, json } = await put(ann.token, file)
  t.equal(status, 200)
  t.match(json.profileImage, /^https:\/\/chat\.example\/images\/[\w-]{32}$/)
  const profileImage = String(json.profileImage)
  t.match(await reader.action('query', { id: ann.id }), { data: [{ profileImage }] })
  const me = await fetch(`${gateway.http}/api/v1/me`, { headers: { authorization: `Bearer ${ann.token}` } })
  t.match(await me.json(), { profileImage })

  const { pathname } = new URL(profileImage)
  for (const [path, width] of [
    [pathname, 256],
    [`${pathname}-64`, 64],
  ] as const) {
    const response = await get(path)
    t.equal(response.status, 200)
    const named = Object.fromEntries(response.headers)
    t.match(named, {
      'content-type': 'image/jpeg',
      'cache-control': 'public, max-age=31536000, immutable',
      'x-content-type-options': 'nosniff',
      'content-security-policy': "default-src 'none'; sandbox",
    })
    const bytes = Buffer.from(await response.arrayBuffer())
    t.match(await sharp(bytes).metadata(), { format: 'jpeg', width, height: width })
    t.notOk(bytes.includes('WHERE-I-LIVE'))
    const etag = named.etag ?? ''
    for (const tag of [etag, `W/${etag}`, `"x", ${etag}`, '*'])
      t.equal((await get(path, { 'if-none-match': tag })).status, 304, tag)
    t.equal((await get(path, { 'if-none-match': '"x"' })).status, 200)
    const head = await get(path, {}, 'HEAD')
    t.same([head.status, head.headers.get('content-length')], [200, String(bytes.length)])
  }
  t.equal((await get(`${pathname}?x=1`)).status, 200)
  t.equal((await get(`${pathname}x`)).status, 404)
  t.equal((await get(pathname, {}, 'POST')).status, 404)

  const second = await put(ann.token, await photo(10, 10, '#ff0000').png().toBuffer(), 'image/png')
  t.not(second.json.profileImage, profileImage)
  t.equal((await get(pathname)).status, 404, 'the one before is gone')
  const removed = await fetch(`${gateway.http}/api/v1/me/image`, {
    method: 'DELETE',
    headers: { authorization: `Bearer ${ann.token}` },
  })
  t.equal(removed.status, 204)
  t.match(await reader.action('query', { id: ann.id }), { data: [{ profileImage: '' }] })
  t.equal((await get(new URL(String(second.json.profileImage)).pathname)).status, 404)
  const lines = readFileSync(audit, 'utf8')
    .split('\n')
    .filter(line => line.includes('"profileImage"'))
  t.equal(lines.length, 3)
  t.match(JSON.parse(lines[0] ?? ''), { event: 'profile.changed', userId: ann.id, front: 'rest' })
})

t.test('what is no picture, too long, too large, of another type or nobody’s is refused', async t => {
  const ann = await restAccount(t, gateway)
  const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>')
  const bomb = await photo(10, 10).png().toBuffer()
  bomb.writeUInt32BE(60_000, 16)
  bomb.writeUInt32BE(60_000, 20)
  const cases: [name: string, body: Buffer, type: string, status: number, code: number][] = [
    ['SVG by its name', svg, 'image/svg+xml', 415, 10101],
    ['SVG by another name', svg, 'image/png', 400, 10101],
    ['HTML', Buffer.from('<!doctype html><script>alert(1)</script>'), 'image/jpeg', 400, 10101],
    ['a bomb', bomb, 'image/png', 400, 10101],
    ['nothing', Buffer.alloc(0), 'image/png', 400, 10101],
    ['a long one', Buffer.alloc(65_537), 'image/png', 413, 10103],
  ]
  for (const [name, body, type, status, code] of cases) {
    const reply = await put(ann.token, body, type)
    t.match(reply, { status, json: { code } }, name)
  }
  t.equal((await put('x', await photo(9, 9).png().toBuffer())).status, 401)
  const reader = await loggedIn(t, gateway)
  t.match(await reader.action('query', { id: ann.id }), { data: [{ profileImage: '' }] })
})

t.test('an account gets some images an hour decoded; its image goes with it', async t => {
  const ann = await restAccount(t, gateway)
  const one = await photo(20, 20).webp().toBuffer()
  const first = await put(ann.token, one, 'image/webp')
  t.equal(first.status, 200)
  let refused = 0
  for (let i = 0; i < 13; i++) if ((await put(ann.token, Buffer.from('x'))).json.code === 10120) refused++
  t.ok(refused > 0)
  const { pathname } = new URL(String(first.json.profileImage))
  t.equal((await get(pathname)).status, 200)
  const owner = await loggedIn(t, gateway, ann)
  t.equal((await owner.action('delete', { password: ann.password })).code, 200)
  t.equal((await get(pathname)).status, 404)
})
