/** `kill -9` in the middle of a resumable upload: what is told afterwards is on the disk, and had its checksum. */
import { createHash, randomBytes } from 'node:crypto'
import { readdirSync, statSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { jsonClient, register, type TestAccount } from '../helpers/gateway.js'
import { FREE_PORTS, mumi } from '../helpers/program.js'

const SETTINGS = [
  '--passwords.cost=4',
  '--files.minFree=0',
  '--limits.handshakeTimeout=60s',
  ...['maxSize', 'quota', 'perDay', 'total'].map(key => `--files.${key}=1GiB`),
]
const SIZE = 24 << 20
/** Bytes after which what came is synced. */
const STEP = 8 << 20
const TUS = { 'Tus-Resumable': '1.0.0' }
const OF_PATCH = { ...TUS, 'Content-Type': 'application/offset+octet-stream' }

const sum = (bytes: Buffer) => createHash('sha256').update(bytes).digest('base64')

async function started(t: Test, dir: string) {
  const program = mumi(t, ['serve', ...FREE_PORTS, '--data.dir', dir, ...SETTINGS])
  const { http } = (await program.logged('gateway.ready')) as { http: { port: number } }
  return { ...program, httpPort: http.port, url: `http://127.0.0.1:${http.port}` }
}

async function tokenOf(t: Test, gateway: { httpPort: number }, { email, password }: TestAccount) {
  const client = await jsonClient(t, gateway)
  const { data } = await client.action('login', { email, password, token: true })
  return { client, auth: { Authorization: `Bearer ${(data as { token: string }).token}` } }
}

t.test('an upload that is killed in the middle', async t => {
  const dir = t.testdir()
  const incoming = join(dir, 'files', 'incoming')
  const onDisk = (id: string) => statSync(join(incoming, id), { throwIfNoEntry: false })?.size ?? 0
  const bytes = randomBytes(SIZE)
  let gateway = await started(t, dir)
  const account = await register(t, gateway)
  let { auth, client } = await tokenOf(t, gateway, account)

  const create = async () => {
    const headers = { ...TUS, ...auth, 'Upload-Length': String(SIZE) }
    const made = await fetch(`${gateway.url}/api/v1/uploads`, { method: 'POST', headers })
    return new URL(made.headers.get('location') ?? '', gateway.url).pathname
  }
  const offsetOf = async (path: string) => {
    const { headers } = await fetch(gateway.url + path, { method: 'HEAD', headers: { ...TUS, ...auth } })
    return Number(headers.get('upload-offset'))
  }
  const patch = (path: string, offset: number, body: Buffer, more = {}) =>
    fetch(gateway.url + path, {
      method: 'PATCH',
      headers: { ...OF_PATCH, ...auth, 'Upload-Offset': String(offset), ...more },
      body,
    })
  /** Sends some of the rest, until so many are on the disk, and kills the gateway; another one runs then. */
  const killed = async (path: string, offset: number, count: number, more = {}) => {
    const length = String(SIZE - offset)
    const headers = {
      ...OF_PATCH,
      ...auth,
      'Upload-Offset': String(offset),
      'Content-Length': length,
      ...more,
    }
    const asking = request(gateway.url + path, { method: 'PATCH', headers })
    asking.on('error', () => undefined)
    asking.write(bytes.subarray(offset, offset + count))
    const id = path.split('/').at(-1) ?? ''
    // The last piece of what was sent may wait to be written with what follows.
    while (onDisk(id) < offset + count - 300_000) await new Promise(resolve => setTimeout(resolve, 10))
    gateway.child.kill('SIGKILL')
    await gateway.ended
    t.ok(onDisk(id) > offset, 'bytes are there')
    gateway = await started(t, dir)
    ;({ auth, client } = await tokenOf(t, gateway, account))
  }

  const [plain, checked] = [await create(), await create()]
  await killed(plain, 0, STEP + (1 << 20))
  const first = await offsetOf(plain)
  t.ok(first >= STEP && first <= STEP + (1 << 20), `${first}: what was synced`)
  t.equal((await patch(plain, first, bytes.subarray(first, first + 1000))).status, 204)
  await killed(plain, first + 1000, 1 << 20)
  t.equal(await offsetOf(plain), first + 1000, 'what was answered, and not what came behind it')

  const half = bytes.subarray(0, STEP)
  const ofHalf = { 'Upload-Checksum': `sha256 ${sum(half)}` }
  t.equal((await patch(checked, 0, half, ofHalf)).status, 204)
  await killed(checked, STEP, STEP + (1 << 20), { 'Upload-Checksum': `sha256 ${sum(bytes.subarray(STEP))}` })
  t.equal(await offsetOf(checked), STEP, 'no byte that no checksum covered')

  for (const path of [plain, checked]) {
    const offset = await offsetOf(path)
    t.equal((await patch(path, offset, bytes.subarray(offset))).status, 204)
    const { data } = await client.action('fileLink', { file: path.split('/').at(-1) }, 'l')
    const read = await (await fetch((data as { url: string }).url)).arrayBuffer()
    t.equal(sum(Buffer.from(read)), sum(bytes))
  }
  t.same(readdirSync(incoming), [])
})
