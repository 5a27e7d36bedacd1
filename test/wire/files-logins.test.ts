/** What ends a login ends its uploads: those that are under way, and those that were announced. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { statSync } from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { askAdmin } from '../helpers/admin.js'
import { type JsonClient, jsonClient, register, startGateway, type TestAccount } from '../helpers/gateway.js'

const gateway = await startGateway(t, {
  'files.maxSize': 1_000_000,
  'files.minFree': 0,
  'files.openUploads': 50,
  'sessions.multiple': 'allow',
  'limits.registrations': 1000,
  'limits.handshakeTimeout': '60s',
})

const SIZE = 800_000
const BYTES = randomBytes(SIZE)
const HALF = SIZE / 2

interface Slot {
  readonly id: string
  readonly url: string
  readonly headers: Record<string, string>
}

interface Login {
  readonly client: JsonClient
  readonly headers: Record<string, string>
  readonly session: string
}

async function logIn(t: Test, { email, password }: TestAccount): Promise<Login> {
  const client = await jsonClient(t, gateway)
  const { data } = await client.action('login', { email, password, token: true })
  const { token } = data as { token: string }
  const { data: all } = await client.action('sessions', {}, 's')
  const { sessions } = all as { sessions: { id: string; current: boolean }[] }
  const session = sessions.find(({ current }) => current)?.id ?? ''
  return { client, headers: { Authorization: `Bearer ${token}` }, session }
}

const announce = async ({ client }: Login): Promise<Slot> =>
  (await client.action('uploadSlot', { name: 'x', size: SIZE }, 'u')).data as Slot

/** Bytes that are there of an upload. */
const incoming = (id: string): number =>
  statSync(join(gateway.dir, 'files', 'incoming', id), { throwIfNoEntry: false })?.size ?? 0

/** An upload of which half is sent, and then nothing. @returns what it is answered */
async function stalled(url: string, method: string, headers: Record<string, string>, id: string) {
  const asking = request(url, { method, headers: { ...headers, 'Content-Length': String(SIZE) } })
  asking.on('error', () => undefined)
  const answered = once(asking, 'response').then(async ([response]: IncomingMessage[]) => ({
    status: response?.statusCode,
    body: response === undefined ? '' : await text(response),
  }))
  asking.write(BYTES.subarray(0, HALF))
  while (incoming(id) === 0) await new Promise(resolve => setTimeout(resolve, 10))
  return { asking, answered }
}

const put = async (login: Login) => {
  const slot = await announce(login)
  return { slot, ...(await stalled(slot.url, 'PUT', slot.headers, slot.id)) }
}

const TUS = { 'Tus-Resumable': '1.0.0' }

async function patch({ headers }: Login) {
  const made = await fetch(`${gateway.http}/api/v1/uploads`, {
    method: 'POST',
    headers: { ...TUS, ...headers, 'Upload-Length': String(SIZE) },
  })
  const url = new URL(made.headers.get('location') ?? '', gateway.http).href
  const type = { 'Content-Type': 'application/offset+octet-stream' }
  const id = url.split('/').at(-1) ?? ''
  return {
    id,
    url,
    ...(await stalled(url, 'PATCH', { ...TUS, ...headers, ...type, 'Upload-Offset': '0' }, id)),
  }
}

const ends: Record<string, (login: Login, other: Login, account: TestAccount) => Promise<unknown>> = {
  logout: ({ client }) => client.action('logout', {}, 'l'),
  'revoke by another session': ({ session }, { client }) => client.action('revoke', { session }, 'r'),
  'revoke of all others': (_login, { client }) => client.action('revoke', { others: true }, 'r'),
  'sessions kick': ({ session }, _other, { id: user }) =>
    askAdmin(gateway, 'session.kick', { user, session }),
  'a new password': (_login, { client }, { password }) =>
    client.action('password', { password, newPassword: `${password}-2` }, 'p'),
  'user disable': (_login, _other, { id: user }) => askAdmin(gateway, 'user.disable', { user }),
  'account deleted': (_login, { client }, { password }) => client.action('delete', { password }, 'd'),
}

for (const [name, end] of Object.entries(ends))
  t.test(
    `${name} ends uploads of the login, also while nothing comes, and what it had announced`,
    async t => {
      const account = await register(t, gateway)
      const stranger = await logIn(t, await register(t, gateway))
      const [login, other] = [await logIn(t, account), await logIn(t, account)]
      const once = await put(login)
      const resumable = await patch(login)
      const announced = await announce(login)
      const unharmed = await put(stranger)
      const kept = /^(logout|revoke|sessions)/.test(name) ? await put(other) : undefined
      await end(login, other, account)
      t.equal((await once.answered).status, 404)
      const { status, body } = await resumable.answered
      t.equal(status, 401, body)
      const late = await fetch(announced.url, { method: 'PUT', headers: announced.headers, body: BYTES })
      t.equal(late.status, 404, 'the token of an announcement ends with the login that has it')
      for (const upload of [unharmed, kept]) {
        if (upload === undefined) continue
        upload.asking.end(BYTES.subarray(HALF))
        t.equal((await upload.answered).status, 201, 'others go on')
      }
      t.equal(incoming(once.slot.id), 0, 'and nothing is left')
    },
  )

t.test('a resumable upload goes on by the next login', async t => {
  const account = await register(t, gateway)
  const [login, other] = [await logIn(t, account), await logIn(t, account)]
  const upload = await patch(login)
  await login.client.action('logout', {}, 'l')
  t.equal((await upload.answered).status, 401)
  const { headers } = other
  const head = await fetch(upload.url, { method: 'HEAD', headers: { ...TUS, ...headers } })
  const offset = Number(head.headers.get('upload-offset'))
  t.ok(offset > 0 && offset <= HALF, `${offset}`)
  const rest = await fetch(upload.url, {
    method: 'PATCH',
    headers: {
      ...{ ...TUS, ...headers, 'Upload-Offset': String(offset) },
      'Content-Type': 'application/offset+octet-stream',
    },
    body: BYTES.subarray(offset),
  })
  t.equal(rest.status, 204)
  const { data } = await other.client.action('fileLink', { file: upload.id }, 'f')
  const read = await fetch((data as { url: string }).url)
  t.ok(Buffer.from(await read.arrayBuffer()).equals(BYTES))
})
