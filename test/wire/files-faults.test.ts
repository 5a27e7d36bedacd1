/** Files when something goes wrong meanwhile: the disk is full, the client leaves, the file or its account is removed. */
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, readlinkSync, rmSync, truncateSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { placeIn } from '../../src/files/disk.js'
import { startGateway } from '../helpers/gateway.js'
import { askRest, restAccount } from '../helpers/rest.js'

const gateway = await startGateway(t, {
  'files.maxSize': 4_000_000,
  'files.minFree': 0,
  'limits.registrations': 1000,
})

interface Slot {
  readonly id: string
  readonly url: string
  readonly headers: Record<string, string>
}

async function slotOf(token: string, size: number): Promise<Slot> {
  const { status, json } = await askRest(gateway, 'POST /files', { token, body: { name: 'a', size } })
  if (status !== 201) throw new Error(JSON.stringify(json))
  return json
}

const put = ({ url, headers }: Slot, body: Buffer) => fetch(url, { method: 'PUT', headers, body })

/** The path of a link. */
async function linkOf(token: string, id: string): Promise<string> {
  const { json } = await askRest(gateway, `GET /files/${id}`, { token })
  if (json.url === undefined) throw new Error(JSON.stringify(json))
  return new URL(json.url).pathname
}

/** A PUT of which some bytes are sent, and the gateway has them. */
async function begun(t: Test, { id, headers, url }: Slot, size: number, bytes: Buffer): Promise<Socket> {
  const socket = connect(gateway.httpPort, '127.0.0.1').on('error', () => undefined)
  t.teardown(() => socket.destroy())
  const head = Object.entries({ Host: 'x', ...headers, 'Content-Length': size, Connection: 'close' })
  const lines = head.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  socket.write(`PUT ${new URL(url).pathname} HTTP/1.1\r\n${lines}\r\n`)
  socket.write(bytes)
  const incoming = join(gateway.dir, 'files', 'incoming')
  await until(() => readdirSync(incoming).includes(id))
  return socket
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise(resolve => setTimeout(resolve, 10))
}

/** What comes until the connection ends. */
async function answerOf(socket: Socket): Promise<string> {
  let answer = ''
  socket.on('data', bytes => {
    answer += bytes
  })
  await new Promise(resolve => socket.once('close', resolve))
  return answer
}

/** How many descriptors this process, which is the gateway's, has of a file. */
function openOf(id: string): number {
  const links = readdirSync('/proc/self/fd').map(fd => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`)
    } catch {
      return ''
    }
  })
  return links.filter(link => link.includes(id.slice(10))).length
}

const faults = () => gateway.logs.filter(({ level }) => level === 'fatal' || level === 'error')

t.test(
  'a disk that is full answers 507, to PUT and to resumable uploads, and the file can be sent again',
  async t => {
    const { token } = await restAccount(t, gateway)
    const bytes = randomBytes(3_000_000)
    const slot = await slotOf(token, bytes.length)
    const headers = { Authorization: `Bearer ${token}`, 'Tus-Resumable': '1.0.0' }
    const created = await fetch(`${gateway.http}/api/v1/uploads`, {
      method: 'POST',
      headers: { ...headers, 'Upload-Length': String(bytes.length) },
    })
    t.equal(created.status, 201)
    const incoming = join(gateway.dir, 'files', 'incoming')
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', incoming])
    if (mounted.status !== 0) {
      t.comment('a small disk cannot be mounted here')
      return
    }
    const unmount = () => spawnSync('umount', [incoming])
    t.teardown(unmount)
    const before = gateway.logs.length
    const answer = await put(slot, bytes)
    t.equal(answer.status, 507)
    t.equal(answer.headers.get('retry-after'), '10')
    t.equal(answer.headers.get('connection'), 'close')
    t.match(await answer.json(), { code: 10105 })
    const where = new URL(created.headers.get('location') ?? '', gateway.http)
    const patched = await fetch(where, {
      method: 'PATCH',
      headers: { ...headers, 'Upload-Offset': '0', 'Content-Type': 'application/offset+octet-stream' },
      body: bytes,
    })
    t.equal(patched.status, 507)
    t.equal(patched.headers.get('retry-after'), '10')
    t.match(await patched.text(), '10105')
    t.same(
      gateway.logs.slice(before).filter(({ level }) => level === 'fatal'),
      [],
      'nothing is uncaught',
    )
    unmount()
    t.equal((await put(slot, bytes)).status, 201)
  },
)

t.test(
  'answers that wait for their turn hold no file open, and those that were never read leave none',
  async t => {
    const { token } = await restAccount(t, gateway)
    const bytes = randomBytes(4_000_000)
    const slot = await slotOf(token, bytes.length)
    t.equal((await put(slot, bytes)).status, 201)
    const path = await linkOf(token, slot.id)
    const socket = connect(gateway.httpPort, '127.0.0.1')
    socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`.repeat(16))
    await once(socket, 'readable')
    // Behind them, so that they have been looked up.
    for (let i = 0; i < 5; i++) t.equal((await fetch(gateway.http + path, { method: 'HEAD' })).status, 200)
    t.equal(openOf(slot.id), 1)
    socket.destroy()
    await until(() => openOf(slot.id) === 0)
    const again = connect(gateway.httpPort, '127.0.0.1')
    again.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nRange: bytes=0-9\r\n\r\n`.repeat(15))
    again.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nRange: bytes=0-9\r\nConnection: close\r\n\r\n`)
    const answers = await answerOf(again)
    t.equal(answers.split('HTTP/1.1 206').length, 17, 'all of them are answered to who reads')
    t.equal(openOf(slot.id), 0)
  },
)

t.test(
  'a file that is shorter or longer on the disk than it was is 503, whole, in part and by HEAD',
  async t => {
    const { token } = await restAccount(t, gateway)
    const slot = await slotOf(token, 1000)
    t.equal((await put(slot, randomBytes(1000))).status, 201)
    const url = gateway.http + (await linkOf(token, slot.id))
    const statuses = async () => {
      const asked: RequestInit[] = [{}, { headers: { Range: 'bytes=0-9' } }, { method: 'HEAD' }]
      const answers = await Promise.all(asked.map(request => fetch(url, request)))
      await Promise.all(answers.map(answer => answer.arrayBuffer()))
      return answers.map(({ status }) => status)
    }
    t.same(await statuses(), [200, 206, 200])
    const path = placeIn(join(gateway.dir, 'files'), slot.id)
    for (const size of [999, 0, 1001]) {
      truncateSync(path, size)
      t.same(await statuses(), [503, 503, 503], `${size} bytes`)
    }
    rmSync(path)
    t.same(await statuses(), [503, 503, 503], 'gone')
  },
)

t.test('a file that is removed while it is sent is 404, and no more of it is written', async t => {
  const incoming = join(gateway.dir, 'files', 'incoming')
  for (const what of ['file', 'account'] as const) {
    const before = faults().length
    const { token, password } = await restAccount(t, gateway)
    const slot = await slotOf(token, 2_000_000)
    const socket = await begun(t, slot, 2_000_000, randomBytes(1_000_000))
    const gone =
      what === 'file'
        ? await askRest(gateway, `DELETE /files/${slot.id}`, { token })
        : await askRest(gateway, 'DELETE /me', { token, body: { password } })
    t.ok(gone.status < 300)
    socket.write(randomBytes(1000))
    const answer = await answerOf(socket)
    t.match(answer, /^HTTP\/1\.1 404 /, what)
    t.match(answer, '10170')
    t.notOk(readdirSync(incoming).includes(slot.id))
    t.equal(faults().length, before, 'no fault is logged')
  }
})

t.test('a file that is removed while it is looked at is 404', async t => {
  const { token } = await restAccount(t, gateway)
  const before = faults().length
  for (let i = 0; i < 10; i++) {
    const slot = await slotOf(token, 1_000_000)
    const socket = await begun(t, slot, 1_000_000, randomBytes(999_999))
    const answered = answerOf(socket)
    socket.write('x')
    const { status } = await askRest(gateway, `DELETE /files/${slot.id}`, { token })
    t.ok(status < 300)
    t.match(await answered, /^HTTP\/1\.1 (201|404) /)
  }
  t.equal(faults().length, before)
})
