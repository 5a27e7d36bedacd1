/** Letters: what is written and when, how it waits in the store, and where it goes. */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { HeldAddresses } from '../../src/accounts/held-addresses.js'
import { composeMail } from '../../src/app/mail.js'
import { Proofs } from '../../src/auth/proofs.js'
import { loadConfig } from '../../src/config/config.js'
import { createLogger } from '../../src/core/log.js'
import { Metrics } from '../../src/core/metrics.js'
import type { User } from '../../src/core/model.js'
import { type Letter, type Message, PROOF_OF } from '../../src/mail/letter.js'
import { Outbox } from '../../src/mail/outbox.js'
import { PostOffice } from '../../src/mail/post-office.js'
import { LETTER_TEXTS, validFor } from '../../src/mail/texts.js'
import { FileTransport, MailError, SmtpTransport, type Transport } from '../../src/mail/transport.js'
import { writeLetter } from '../../src/mail/writer.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import { dataDir } from '../helpers/gateway.js'
import { mailServer, readLetter } from '../helpers/mail.js'
import { makeLimits } from '../helpers/mqtt-parts.js'

const ANN: User = {
  id: '100000001',
  email: 'ann@example.com',
  emailKey: 'ann@example.com',
  username: '',
  firstName: '<b>Buy</b>',
  lastName: 'now',
  profileImage: '',
  key: '',
  createdAt: 1,
}
const RESET: Letter = { kind: 'reset', userId: ANN.id }
const MESSAGE: Message = { to: ANN.email, subject: '密碼', text: 'text\n', html: '<p>text</p>\n' }
const DAY = 86_400_000

async function openStore(t: Test, dir = join(dataDir(t), 'store')) {
  const store = new EmbeddedStore({ dir, durability: 'commit', dedupWindowMs: 0 })
  await store.open()
  t.teardown(() => store.close())
  return store
}

const rowsOf = async (store: EmbeddedStore, name: string) => {
  const found: string[] = []
  for await (const { value } of store.kv.kvRange('meta', [name])) found.push(Buffer.from(value).toString())
  return found
}

/** An outbox over a real store, whose transport does what the test says. */
async function outboxOf(
  t: Test,
  send: Transport['send'],
  { store = undefined as EmbeddedStore | undefined, maxWaiting = 10 } = {},
) {
  const events: Record<string, unknown>[] = []
  const told: ((line: Record<string, unknown>) => void)[] = []
  const write = (line: string) => {
    const about = JSON.parse(line)
    events.push(about)
    told.shift()?.(about)
  }
  const log = createLogger({ level: 'debug', pretty: 'never', repeatWindow: 0 }, { write })
  const metrics = new Metrics()
  const opened = store ?? (await openStore(t))
  const parts = {
    kv: opened.kv,
    transport: { send, close: () => undefined },
    write: async () => MESSAGE,
    ...{ metrics, log },
  }
  const outbox = new Outbox(parts, { retryForMs: DAY, maxWaiting })
  t.teardown(() => outbox.close())
  const next = () => new Promise<Record<string, unknown>>(resolve => told.push(resolve))
  const counted = async () =>
    Object.fromEntries((await metrics.mails.get()).values.map(({ labels, value }) => [labels.outcome, value]))
  return { outbox, store: opened, events, next, counted }
}

t.test('a letter: in the language of the account, both forms alike, nothing of a client in it', async t => {
  const store = await openStore(t)
  const proofs = new Proofs(store.kv)
  const held = new HeldAddresses(store.kv)
  const lifetimesMs = { reset: 1_800_000, verify: DAY, change: DAY, undo: 7 * DAY }
  let user: User | undefined = ANN
  const parts = {
    users: { findUser: async () => user },
    ...{ proofs, held, lifetimesMs },
    baseUrl: () => 'https://chat.example/x',
    locale: 'zh-TW' as const,
  }
  const kinds = Object.keys(LETTER_TEXTS.en) as Letter['kind'][]
  await held.hold('old@example.com', { userId: ANN.id, since: 1, until: Date.now() + DAY })
  for (const language of ['en', 'zh-TW'] as const) {
    user = { ...ANN, language }
    for (const kind of kinds) {
      const to = kind === 'email-changed' ? 'old@example.com' : undefined
      const letter = await writeLetter(parts, { kind, userId: ANN.id, ...(to && { to }) })
      t.equal(letter?.to, to ?? ANN.email)
      t.equal(letter?.subject, LETTER_TEXTS[language][kind].subject)
      for (const form of [letter?.text ?? '', letter?.html ?? '']) {
        t.ok(form.includes(LETTER_TEXTS[language][kind].lead))
        t.ok(form.includes(LETTER_TEXTS[language][kind].otherwise))
        t.notMatch(form, 'Buy')
        if (PROOF_OF[kind] === undefined) t.notMatch(form, 'https:')
        else t.match(form, /https:\/\/chat\.example\/x\/account\/(reset|verify|undo)\?lang=/)
      }
    }
  }
  t.equal(
    (await writeLetter({ ...parts, locale: 'en' }, RESET))?.subject,
    LETTER_TEXTS['zh-TW'].reset.subject,
  )
  user = ANN
  t.equal((await writeLetter({ ...parts, locale: 'en' }, RESET))?.subject, LETTER_TEXTS.en.reset.subject)
  const noLinks = await writeLetter({ ...parts, baseUrl: () => undefined }, RESET)
  t.notMatch(noLinks?.text, 'http')
  t.match(noLinks?.text, /[0-9A-Z]{5}-[0-9A-Z]{5}/)
  t.equal(await writeLetter(parts, { ...RESET, kind: 'email-changed', to: 'other@example.com' }), undefined)
  const made = (await proofs.list(ANN.id)).length
  for (const to of ['a@example.com\r\nBcc: b@example.com', '"<i>a</i>"@example.com', ' a@example.com'])
    await t.rejects(writeLetter(parts, { ...RESET, to }), { code: 'EADDRESS', isFinal: true }, to)
  t.equal((await proofs.list(ANN.id)).length, made)
  const takenBack = await writeLetter(parts, { ...RESET, kind: 'change', to: 'b@example.com' }, () => false)
  t.equal(takenBack, undefined)
  t.notOk((await proofs.list(ANN.id)).some(({ email }) => email === 'b@example.com'))
  user = { ...ANN, verifiedAt: 1 }
  t.equal(await writeLetter(parts, { ...RESET, kind: 'verify' }), undefined)
  user = { ...ANN, disabledAt: 1 }
  t.equal(await writeLetter(parts, RESET), undefined)
  user = undefined
  t.equal(await writeLetter(parts, RESET), undefined)
  t.match(validFor('en', 60_000), /1 minute,/)
  t.match(validFor('en', 7 * DAY), /7 days/)
  t.match(validFor('zh-TW', 3 * 3_600_000), /3 小時/)
})

t.test(
  'outbox: the store has a letter until it is sent, and neither link nor code; one of a kind for an account',
  async t => {
    const sent: Message[] = []
    const { outbox, store, counted } = await outboxOf(t, async message => void sent.push(message))
    await outbox.put(RESET)
    await outbox.put(RESET)
    await outbox.put({ kind: 'email-changed', userId: ANN.id, to: 'a@example.com' })
    await outbox.put({ kind: 'email-changed', userId: ANN.id, to: 'b@example.com' })
    const rows = await rowsOf(store, 'mail')
    t.equal(rows.length, 3)
    for (const row of rows) t.notMatch(row, /mp[rvcu]_/)
    t.same(await rowsOf(store, 'proof'), [], 'made when it is sent')
    await outbox.start()
    await outbox.close()
    t.equal(sent.length, 3)
    t.same(await rowsOf(store, 'mail'), [])
    t.same(await counted(), { sent: 3 })
  },
)

t.test(
  'outbox: a mail server that is down delays; the letter is there after a restart, and is given up in the end',
  async t => {
    let now = 1_800_000_000_000
    t.intercept(Date, 'now', { value: () => now })
    const down = async () => {
      throw new MailError('ECONNREFUSED', false)
    }
    const first = await outboxOf(t, down)
    await first.outbox.start()
    const delayed = first.next()
    await first.outbox.put(RESET)
    t.match(await delayed, { event: 'mail.delayed', code: 'ECONNREFUSED', tries: 1, waitMs: 30_000 })
    await first.outbox.close()
    now += 31_000
    const sent: Message[] = []
    const second = await outboxOf(t, async message => void sent.push(message), { store: first.store })
    const done = second.next()
    await second.outbox.start()
    t.match(await done, { event: 'mail.sent', kind: 'reset', userId: ANN.id })
    t.equal(sent.length, 1)
    t.same(await rowsOf(first.store, 'mail'), [])
    await second.outbox.close()
    const third = await outboxOf(t, down, { store: first.store })
    await third.outbox.put(RESET)
    now += DAY
    const over = third.next()
    await third.outbox.start()
    t.match(await over, { event: 'mail.given-up' })
    await third.outbox.close()
    t.same(await rowsOf(first.store, 'mail'), [])
    t.same(await third.counted(), { 'given-up': 1 })
  },
)

t.test(
  'outbox: what the server refuses for good is not tried again; beyond the bound letters are dropped',
  async t => {
    const refused = await outboxOf(t, async () => {
      throw new MailError('EENVELOPE 550', true)
    })
    await refused.outbox.start()
    const line = refused.next()
    await refused.outbox.put(RESET)
    t.match(await line, { event: 'mail.refused', code: 'EENVELOPE 550' })
    await refused.outbox.close()
    t.same(await rowsOf(refused.store, 'mail'), [])
    const full = await outboxOf(t, async () => undefined, { maxWaiting: 1 })
    await full.outbox.put(RESET)
    await full.outbox.put({ ...RESET, userId: '100000002' })
    await full.outbox.put(RESET)
    t.equal((await rowsOf(full.store, 'mail')).length, 1)
    t.match(full.events, [{ event: 'mail.dropped', userId: '100000002' }])
    t.same(await full.counted(), { dropped: 1 })
  },
)

t.test(
  'outbox: letters are taken back, also one that is just being written, and those of a store at rest',
  async t => {
    const sent: Message[] = []
    const { outbox, store } = await outboxOf(t, async message => void sent.push(message))
    const change: Letter = { kind: 'change', userId: ANN.id, to: 'thief@example.com' }
    const told: Letter = { kind: 'password-changed', userId: ANN.id }
    const other: Letter = { ...change, userId: '100000002' }
    for (const letter of [RESET, change, told, other]) await outbox.put(letter)
    const { outbox: atRest } = await outboxOf(t, async () => undefined, { store })
    await atRest.takeBack(ANN.id, ['reset'])
    await outbox.takeBack(ANN.id, ['change', 'reset'])
    const left = (await rowsOf(store, 'mail')).map(row => JSON.parse(row))
    t.match(left, [told, other])
    await outbox.start()
    await outbox.close()
    t.equal(sent.length, 2)
    let go = () => {}
    const wanted: boolean[] = []
    const parts = {
      kv: store.kv,
      transport: { send: async (message: Message) => void sent.push(message), close: () => undefined },
      write: (_letter: Letter, isWanted: () => boolean) =>
        new Promise<Message | undefined>(resolve => {
          wanted.push(isWanted())
          go = () => {
            wanted.push(isWanted())
            resolve(undefined)
          }
        }),
      metrics: new Metrics(),
      log: createLogger({ level: 'silent', pretty: 'never' }),
    }
    const writing = new Outbox(parts, { retryForMs: DAY, maxWaiting: 10 })
    await writing.start()
    await writing.put(change)
    while (wanted.length === 0) await new Promise(setImmediate)
    await writing.takeBack(ANN.id, ['change'])
    go()
    await writing.close()
    t.same(wanted, [true, false])
    t.same(await rowsOf(store, 'mail'), [])
  },
)

t.test(
  'a new password is told at once, further ones within the hour in one letter an hour later',
  async t => {
    const start = 1_800_000_000_000
    let now = start
    t.intercept(Date, 'now', { value: () => now })
    const sent: Message[] = []
    const { outbox, store, next } = await outboxOf(t, async message => void sent.push(message))
    let user: User = ANN
    let left = 1
    let isUnverifiedTold = true
    const office = new PostOffice({
      accounts: { find: async () => user, findByName: async () => user },
      outbox,
      mayMail: () => true,
      mayTell: () => left-- > 0,
      isUnverifiedTold: () => isUnverifiedTold,
      log: createLogger({ level: 'silent', pretty: 'never' }),
    })
    const tell = async () => {
      office.tell({ kind: 'password-changed', userId: ANN.id })
      await office.idle()
    }
    await outbox.start()
    const first = next()
    await tell()
    t.match(await first, { event: 'mail.sent' })
    for (let i = 0; i < 40; i++, now += 1000) await tell()
    const rows = (await rowsOf(store, 'mail')).map(row => JSON.parse(row))
    t.match(rows, [{ kind: 'password-changed', dueAt: start + 3_600_000 }], 'not put off again and again')
    t.equal(sent.length, 1)
    await outbox.close()
    now = start + 3_600_000
    const late = await outboxOf(t, async message => void sent.push(message), { store })
    const second = late.next()
    await late.outbox.start()
    t.match(await second, { event: 'mail.sent' })
    t.equal(sent.length, 2)
    await late.outbox.close()
    isUnverifiedTold = false
    await tell()
    t.same(await rowsOf(store, 'mail'), [], 'an address that nobody has confirmed')
    user = { ...ANN, verifiedAt: 1 }
    await tell()
    t.equal((await rowsOf(store, 'mail')).length, 1)
  },
)

t.test('news: each kind at once, and what is late goes to the address that the account had', async t => {
  const { outbox, store } = await outboxOf(t, async () => undefined)
  let user: User = ANN
  const told = new Set<string>()
  const office = new PostOffice({
    accounts: { find: async () => user, findByName: async () => user },
    outbox,
    mayMail: () => true,
    mayTell: key => told.size < told.add(key).size,
    isUnverifiedTold: () => true,
    log: createLogger({ level: 'silent', pretty: 'never' }),
  })
  const tell = (kind: Letter['kind']) => office.tell({ kind, userId: ANN.id })
  const waiting = async (kind: Letter['kind']) => {
    await office.idle()
    const rows: (Letter & { dueAt: number })[] = (await rowsOf(store, 'mail')).map(row => JSON.parse(row))
    const found = rows.filter(row => row.kind === kind)
    return found.map(({ to, dueAt }) => ({ to, isLate: dueAt > Date.now() + 1_800_000 }))
  }
  tell('second-factor-on')
  tell('second-factor-off')
  t.same(await waiting('second-factor-on'), [{ to: ANN.email, isLate: false }])
  t.same(await waiting('second-factor-off'), [{ to: ANN.email, isLate: false }])
  user = { ...ANN, email: 'late@example.com' }
  tell('app-password-made')
  tell('app-password-made')
  user = { ...ANN, email: 'thief@example.com' }
  tell('app-password-made')
  const [one, other] = (await waiting('app-password-made')).sort((a, b) =>
    (a.to ?? '').localeCompare(b.to ?? ''),
  )
  t.equal(one?.to, 'late@example.com')
  t.equal(other?.to, 'thief@example.com')
})

t.test('outbox: one that is put while the last of its kind is being sent is sent, too', async t => {
  let go = () => {}
  const sent: Message[] = []
  const { outbox, store } = await outboxOf(t, async message => {
    sent.push(message)
    if (sent.length === 1)
      await new Promise<void>(resolve => {
        go = resolve
      })
    return undefined
  })
  await outbox.start()
  await outbox.put(RESET)
  while (sent.length === 0) await new Promise(setImmediate)
  await outbox.put(RESET)
  go()
  while (sent.length < 2) await new Promise(setImmediate)
  await outbox.close()
  t.same(await rowsOf(store, 'mail'), [])
})

t.test(
  'post office: a stranger’s question is answered before anybody looks, and limits are kept in silence',
  async t => {
    const put: Letter[] = []
    const log = createLogger({ level: 'silent', pretty: 'never' })
    let looks = 0
    let left = 1
    const office = new PostOffice({
      accounts: {
        find: async () => undefined,
        findByName: async login => {
          looks++
          return login === ANN.email ? ANN : undefined
        },
      },
      outbox: { put: async letter => void put.push(letter) },
      mayMail: () => left-- > 0,
      mayTell: () => true,
      isUnverifiedTold: () => true,
      log,
    })
    t.equal(office.ask(ANN.email, 'reset'), undefined)
    t.equal(office.ask('nobody@example.com', 'reset'), undefined)
    t.equal(looks, 0)
    await office.idle()
    t.equal(looks, 2)
    t.same(put, [RESET])
    await office.send(ANN, RESET)
    t.equal(put.length, 1, 'over the limit')
    office.tell({ kind: 'email-changed', userId: ANN.id, to: 'old@example.com' })
    await office.put(RESET)
    await office.idle()
    t.equal(put.length, 3)
    for (let i = 0; i < 3000; i++) office.ask('nobody@example.com', 'reset')
    await office.idle()
    t.equal(looks, 1002, 'those that wait are bounded')
  },
)

t.test('files: whole, private, as mail programs open them; the newest stay', async t => {
  const dir = join(t.testdir(), 'a', 'mail')
  const transport = new FileTransport(dir, 'MumiChat <mumi@example.com>')
  const path = (await transport.send(MESSAGE)) ?? ''
  const letter = readLetter(readFileSync(path, 'utf8'))
  t.match(letter, { to: ANN.email, subject: '密碼', text: /^text/, html: /^<p>text<\/p>/ })
  t.match(letter.headers, /^From: MumiChat <mumi@example\.com>/m)
  t.equal(statSync(path).mode & 0o777, 0o600)
  t.equal(statSync(dir).mode & 0o777, 0o700)
  writeFileSync(join(dir, 'mine.eml'), '')
  for (let i = 0; i < 1000; i++)
    writeFileSync(join(dir, `2000-01-01T00-00-00.${String(i).padStart(3, '0')}Z_abcdefgh.eml`), '')
  await transport.send(MESSAGE)
  const names = readdirSync(dir)
  t.equal(names.length, 1001)
  t.ok(names.includes('mine.eml'), 'a file of somebody else')
  t.notOk(names.includes('2000-01-01T00-00-00.001Z_abcdefgh.eml'))
  const file = join(t.testdirName, 'file')
  writeFileSync(file, '')
  await t.rejects(new FileTransport(file, 'a@example.com').send(MESSAGE), {
    name: 'MailError',
    code: /EEXIST|ENOTDIR/,
    isFinal: false,
  })
})

t.test(
  'files: what a letter is sent to is the address of the account, whatever is between its quotes',
  async t => {
    const dir = join(t.testdir(), 'mail')
    const transport = new FileTransport(dir, 'a@example.com')
    for (const char of "!#$%&()*+,/:;=?@[]^`{|} '") {
      const path = await transport.send({ ...MESSAGE, to: `"a${char}b"@example.com` })
      const raw = readFileSync(path ?? '', 'utf8')
      t.ok(raw.includes(`To: <"a${char}b"@example.com>`) || raw.includes(`To: a${char}b@example.com`), char)
    }
  },
)

t.test(
  'SMTP: a real server gets the letter; an address is one address, and none of it is in an error',
  async t => {
    const refusing = new Set<string>()
    const recipients: string[] = []
    const server = await mailServer(t, {
      onRcptTo({ address }, _session, done) {
        recipients.push(address)
        const code = refusing.has('for good') ? 550 : 450
        done(refusing.size > 0 ? Object.assign(new Error(`no ${address}`), { responseCode: code }) : null)
      },
    })
    const transport = new SmtpTransport(server.url, 'MumiChat <mumi@example.com>')
    await transport.send(MESSAGE)
    t.match(await server.next(), { to: ANN.email, subject: '密碼', text: /^text/ })
    recipients.length = 0
    await transport.send({ ...MESSAGE, to: '"a,b"@example.com' })
    await server.next()
    // Our test server does not take such an address; it must not get another one instead.
    await transport.send({ ...MESSAGE, to: '"a <c@example.com>"@example.com' }).catch(() => undefined)
    t.equal(recipients.length, 1)
    t.match(recipients[0], /a,b"?@example\.com$/)
    refusing.add('for now')
    await t.rejects(transport.send(MESSAGE), { name: 'MailError', message: 'EENVELOPE 450', isFinal: false })
    refusing.add('for good')
    await t.rejects(transport.send(MESSAGE), { name: 'MailError', message: 'EENVELOPE 550', isFinal: true })
    await server.close()
    await t.rejects(transport.send(MESSAGE), { name: 'MailError', isFinal: false })
    transport.close()
    await t.rejects(transport.send(MESSAGE), { name: 'MailError', code: 'closed' })
  },
)

t.test('composeMail: files in data.dir by default, else where the config says', async t => {
  const store = await openStore(t)
  const dir = t.testdir()
  for (const [argv, place] of [
    [[`--data.dir=${dir}`], join(dir, 'mail')],
    [[`--data.dir=${dir}`, `--mail.file=${join(dir, 'letters')}`], join(dir, 'letters')],
  ] as const) {
    const config = loadConfig({ argv: [...argv], env: {} })
    const log = createLogger({ level: 'silent', pretty: 'never' })
    const metrics = new Metrics()
    const [proofs, held] = [new Proofs(store.kv), new HeldAddresses(store.kv)]
    const accounts = { findByName: async () => ANN } as never
    const users = { findUser: async () => ANN }
    const { outbox, mail } = composeMail({
      ...{ config, log, metrics, accounts, proofs, held },
      limits: makeLimits(metrics),
      store: { kv: store.kv, users } as never,
      baseUrl: () => undefined,
      isUnverifiedTold: () => true,
    })
    mail.ask(ANN.email, 'reset')
    await mail.idle()
    await outbox.start()
    while ((await rowsOf(store, 'mail')).length > 0) await new Promise(setImmediate)
    await outbox.close()
    t.equal(readdirSync(place).length, 1)
  }
  t.notOk(statSync(join(dir, 'mail')).mode & 0o077)
})

t.test('a letter that only tells has no link, and no two kinds have the same', async t => {
  t.notOk('password-changed' in PROOF_OF)
  const proofs = Object.values(PROOF_OF)
  t.equal(new Set(proofs).size, proofs.length)
})
