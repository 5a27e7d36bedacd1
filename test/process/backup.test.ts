/** Backup and restore, as a program: while clients send, and of files that are damaged. */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { placeIn } from '../../src/files/disk.js'
import {
  type JsonClient,
  jsonClient,
  loggedIn,
  type Reply,
  register,
  type TestAccount,
} from '../helpers/gateway.js'
import { FREE_PORTS, mumi, serve } from '../helpers/program.js'

const portOf = async ({ logged }: ReturnType<typeof serve>) => {
  const { http } = (await logged('gateway.ready')) as { http: { port: number } }
  return { httpPort: http.port }
}

/** Sends without an end. @returns contents that were acknowledged, and a function that stops */
function sender(client: JsonClient, recipient: string, name: string) {
  const acknowledged: string[] = []
  let isOn = true
  const running = (async () => {
    for (let i = 0; isOn; i++) {
      const content = `${name} ${i}`
      const { code } = await client.ask({ type: 'message', data: { recipient, content } })
      if (code === 201) acknowledged.push(content)
    }
  })()
  return {
    acknowledged,
    stop: async () => {
      isOn = false
      await running
    },
  }
}

/** Contents of an inbox, from its beginning. */
async function contentsOf(
  t: Test,
  gateway: { httpPort: number },
  { email, password }: TestAccount,
  last: string,
) {
  const client = await jsonClient(t, gateway)
  client.send({ type: 'action', action: 'login', data: { email, password, device: 'new', from: 'start' } })
  const contents: string[] = []
  while (!contents.includes(last)) {
    const frame = await client.next<Reply & { content?: string }>()
    if (frame.content !== undefined) contents.push(frame.content)
  }
  return contents
}

t.test(
  'a backup under load, restored: nothing acknowledged before is missing, and nothing is out of order',
  async t => {
    const first = serve(t, ['--passwords.cost=4'])
    const gateway = await portOf(first)
    const reader = await register(t, gateway)
    const names = ['a', 'b', 'c']
    const senders = []
    for (const name of names) senders.push(sender(await loggedIn(t, gateway), reader.id, name))
    while (senders.some(({ acknowledged }) => acknowledged.length < 100)) await new Promise(setImmediate)
    const before = senders.map(({ acknowledged }) => acknowledged.length)
    const file = join(t.testdirName, 'backup.mdb')
    const data = ['--data.dir', join(t.testdirName, 'data')]
    const made = await mumi(t, ['backup', file, ...data]).ended
    t.match(made, { code: 0, stdout: /backup\.mdb: \d+ bytes in .* s$/ })
    const after = senders.map(({ acknowledged }) => acknowledged.length)
    t.ok(
      after.every((count, i) => count > (before[i] ?? 0)),
      'it served on',
    )
    for (const { stop } of senders) await stop()
    first.child.kill('SIGKILL')
    await first.ended
    const left = await mumi(t, ['verify', ...data]).ended
    t.match(left, { code: 0, stdout: /^accounts +4$/m, stderr: '' }, 'what kill -9 left, too')
    t.match(await mumi(t, ['restore', file, ...data]).ended, { code: 1, stderr: /has a store already/ })
    const other = ['--data.dir', join(t.testdirName, 'other')]
    t.match(await mumi(t, ['restore', file, ...other]).ended, { code: 0, stdout: /checked$/, stderr: '' })
    t.match(await mumi(t, ['check', ...other]).ended, { code: 0, stdout: /store is good/ })
    const verified = await mumi(t, ['verify', '--json', ...other]).ended
    t.match(verified, { code: 0, stderr: '' })
    t.match(JSON.parse(verified.stdout), { inboxes: 1, faults: [] })
    const second = mumi(t, ['serve', ...FREE_PORTS, ...other])
    const end = await loggedIn(t, await portOf(second))
    t.match(await end.ask({ type: 'message', data: { recipient: reader.id, content: 'end' } }), { code: 201 })
    const restored = await contentsOf(t, await portOf(second), reader, 'end')
    names.forEach((name, i) => {
      const mine = restored.filter(content => content.startsWith(`${name} `))
      t.same(
        mine,
        mine.map((_, n) => `${name} ${n}`),
        'in order, each once',
      )
      t.ok(
        mine.length >= (before[i] ?? 0),
        `${mine.length} of ${name}, ${before[i]} were acknowledged before`,
      )
    })
    second.child.kill('SIGTERM')
    t.match(await second.ended, { code: 0 })
  },
)

interface Sent {
  readonly content: string
  readonly files: readonly { readonly id: string; readonly url: string }[]
}

t.test(
  'files that messages refer to are in the backup, while others come, and are read after a restore',
  async t => {
    const first = serve(t, [
      '--passwords.cost=4',
      '--files.minFree=0',
      '--files.openUploads=1000',
      '--files.perAccount=9000',
    ])
    const gateway = await portOf(first)
    const reader = await register(t, gateway)
    const client = await loggedIn(t, gateway)
    const bytes = Buffer.alloc(20_000, 'what was sent ')
    const upload = async (name: string) => {
      const reply = await client.action('uploadSlot', { name, size: bytes.length }, name)
      const { id, url, headers } = reply.data as { id: string; url: string; headers: Record<string, string> }
      const { status } = await fetch(url, { method: 'PUT', headers, body: bytes })
      if (status !== 201) throw new Error(`${status}`)
      return id
    }
    const sent = [await upload('a.txt'), await upload('b.txt')]
    const message = { recipient: reader.id, content: 'look', files: sent }
    t.match(await client.ask({ type: 'message', id: 'm', data: message }), { code: 201 })
    let isOn = true
    let meanwhile = 0
    const coming = (async () => {
      for (; isOn; meanwhile++) {
        const id = await upload(`${meanwhile}.txt`)
        if (meanwhile % 2 === 0) await client.action('removeFile', { file: id }, 'r')
      }
    })()
    const file = join(t.testdirName, 'backup.mdb')
    const data = ['--data.dir', join(t.testdirName, 'data')]
    const made = await mumi(t, ['backup', '--json', file, ...data]).ended
    t.match(made, { code: 0, stderr: '' })
    t.match(JSON.parse(made.stdout), { files: { faults: [] } })
    while (meanwhile < 5) await Promise.race([coming, new Promise(resolve => setTimeout(resolve, 10))])
    isOn = false
    await coming
    first.child.kill('SIGKILL')
    await first.ended
    t.match(await mumi(t, ['verify', ...data]).ended, { code: 0, stdout: /^files +[1-9]/m })
    const [gone = ''] = sent
    rmSync(placeIn(join(t.testdirName, 'data', 'files'), gone))
    const part = join(t.testdirName, 'part.mdb')
    t.match(await mumi(t, ['backup', part, ...data]).ended, {
      code: 1,
      stdout: new RegExp(`^file ${gone}: is missing$`, 'm'),
      stderr: /^mumi: 1 files are missing or damaged; all else is in the backup\n$/,
    })
    t.ok(existsSync(part) && existsSync(`${part}.files`), 'the backup is kept')

    const other = ['--data.dir', join(t.testdirName, 'other')]
    const restored = await mumi(t, ['restore', file, ...other]).ended
    t.match(restored, { code: 0, stdout: /checked\nfiles: \d+ files, \d+ bytes$/, stderr: '' })
    t.match(await mumi(t, ['verify', ...other]).ended, { code: 0 })
    const second = mumi(t, ['serve', ...FREE_PORTS, ...other])
    const asReader = await loggedIn(t, await portOf(second), reader, { device: 'new', from: 'start' })
    const got = await asReader.next<Sent>()
    t.same(
      got.files.map(({ id }) => id),
      sent,
    )
    for (const { url } of got.files)
      t.ok(Buffer.from(await (await fetch(url)).arrayBuffer()).equals(bytes), 'the bytes are there')
    second.child.kill('SIGTERM')
    t.match(await second.ended, { code: 0 })
  },
)

t.test('of an idle store, and of files that are damaged', async t => {
  const dir = t.testdir()
  const data = ['--data.dir', join(dir, 'data'), '--passwords.cost', '4']
  const file = join(dir, 'backup.mdb')
  t.match(await mumi(t, ['backup', file, ...data]).ended, { code: 1, stderr: /no store in/ })
  t.match(await mumi(t, ['user', 'create', 'ann@example.com', ...data]).ended, { code: 0 })
  t.match(await mumi(t, ['backup', file, ...data]).ended, { code: 0 })
  t.match(await mumi(t, ['backup', file, ...data]).ended, { code: 1, stderr: /is there already/ })
  for (const command of [['backup'], ['restore'], ['import', 'mumichat']])
    t.match(await mumi(t, [...command, '', ...data]).ended, {
      code: 2,
      stderr: /'' is invalid for argument 'file'.*must not be empty/,
    })
  const other = ['--data.dir', join(dir, 'other')]
  t.match(await mumi(t, ['restore', join(dir, 'none'), ...other]).ended, {
    code: 1,
    stderr: /^mumi: .*ENOENT.*\n$/,
  })
  const whole = readFileSync(file)
  writeFileSync(join(dir, 'cut'), whole)
  truncateSync(join(dir, 'cut'), whole.length / 2)
  const cut = await mumi(t, ['restore', join(dir, 'cut'), ...other]).ended
  t.match(cut, { code: 1, stdout: '', stderr: /^mumi: .*cut is damaged, or no backup of this store: .*\n$/ })
  t.notOk(existsSync(join(dir, 'other')), 'nothing is left')
  // What a restore leaves that is killed.
  mkdirSync(join(dir, 'other', 'store'), { recursive: true })
  writeFileSync(join(dir, 'other', 'store', 'restore.part'), 'x')
  for (const command of [['check'], ['serve', ...FREE_PORTS]])
    t.match(await mumi(t, [...command, ...other]).ended, {
      code: 1,
      stderr: /restore\.part beside it is of a restore/,
    })
  t.match(await mumi(t, ['restore', join(dir, 'cut'), ...other]).ended, { code: 1 })
  t.same(readdirSync(join(dir, 'other', 'store')), [])
  t.match(await mumi(t, ['restore', file, ...other]).ended, { code: 0 })
  t.match(await mumi(t, ['user', 'list', ...other]).ended, { code: 0, stdout: /ann@example\.com/ })
  // What a start says of a store file that is damaged.
  truncateSync(join(dir, 'other', 'store', 'data.mdb'), whole.length / 2)
  for (const command of ['check', 'serve'])
    t.match(
      await mumi(t, [command, ...(command === 'serve' ? FREE_PORTS : []), ...other]).ended,
      { code: 1, signal: null, stderr: /^mumi: .*is damaged.*put a backup in its place\n$/ },
      command,
    )
})
