/**
 * The desktop client in the field, as it is: pretty-printed requests with members in alphabetical order, no Origin,
 * no subprotocol, no compression, and its own way of telling frames apart.
 */
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { type JsonClient, jsonClient, type RunningGateway, startGateway } from '../helpers/gateway.js'

interface Frame {
  readonly key?: unknown
  readonly sender?: unknown
  readonly content?: unknown
  readonly created_at?: unknown
  readonly code?: unknown
  readonly data?: unknown
}

interface Contact {
  readonly id: string
  readonly email: string
  readonly firstName: string
  readonly lastName: string
  readonly isLogin: boolean
}

class Desktop {
  email = ''
  userId = ''
  contacts: Contact[] = []
  readonly drawn: string[] = []
  readonly codes: number[] = []

  constructor(
    private readonly t: Test,
    readonly client: JsonClient,
  ) {}

  /** What Qt's QJsonDocument::toJson writes: four spaces, members sorted, a line feed at the end. */
  send(request: object): void {
    const sorted = JSON.stringify(request, (_key, value) =>
      typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value).sort()) : value,
    )
    this.client.send(`${JSON.stringify(JSON.parse(sorted), null, 4)}\n`)
  }

  /** One frame, read in the order in which the client looks at its members. */
  async read(): Promise<void> {
    const frame = await this.client.next<Frame>()
    if (typeof frame.key === 'string' && frame.key !== '')
      return this.t.fail('taken for a greeting', { frame }) as never
    if (typeof frame.sender === 'string' && frame.sender !== '') {
      // It crashes on anything else.
      if (typeof frame.content !== 'string' || frame.content === '') this.t.fail('crash', { frame })
      this.drawn.push(String(frame.content))
    }
    const code = typeof frame.code === 'number' ? frame.code : 0
    if (code < 10_000 && Array.isArray(frame.data)) this.#takeContacts(frame.data as Contact[])
    else if (typeof frame.sender !== 'string') this.codes.push(code)
  }

  #takeContacts(users: Contact[]): void {
    this.userId = users.find(({ email }) => email === this.email)?.id ?? ''
    this.contacts = users.filter(({ email, isLogin }) => email !== this.email && isLogin !== false)
  }

  async register(email: string): Promise<void> {
    const data = { email, password: 'p@ssw0rd', firstName: 'Eric', lastName: 'Chen' }
    this.send({ type: 'action', action: 'register', data })
    await this.read()
  }

  async login(email: string): Promise<void> {
    this.email = email
    this.send({ type: 'action', action: 'login', data: { email, password: 'p@ssw0rd' } })
    await this.read()
  }

  async listUsers(): Promise<void> {
    this.send({ type: 'action', action: 'query', data: {} })
    await this.read()
  }

  write(recipient: string, content: string): void {
    this.send({ type: 'message', data: { recipient, content } })
  }
}

async function desktop(t: Test, gateway: RunningGateway): Promise<Desktop> {
  return new Desktop(t, await jsonClient(t, gateway))
}

t.test('the handshake that it sends is enough', async t => {
  const gateway = await startGateway(t)
  const socket = connect(gateway.httpPort, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.write(
    [
      'GET / HTTP/1.1',
      `Host: 127.0.0.1:${gateway.httpPort}`,
      'Upgrade: websocket',
      'Connection: Upgrade',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      'Sec-WebSocket-Version: 13',
      '\r\n',
    ].join('\r\n'),
  )
  let received = ''
  for await (const chunk of socket) {
    received += (chunk as Buffer).toString('latin1')
    if (received.includes('"key"')) break
  }
  const [head = ''] = received.split('\r\n\r\n')
  t.match(head, /^HTTP\/1\.1 101 /)
  t.match(head, /Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=/i)
  t.notMatch(head, /Sec-WebSocket-(Protocol|Extensions)/i)
})

t.test('register, log in, find oneself and the others, talk, leave and come back', async t => {
  const gateway = await startGateway(t)
  const [ann, ben] = [await desktop(t, gateway), await desktop(t, gateway)]
  await ann.register('Ann@Example.com')
  await ben.register('ben@example.com')
  await ann.login('Ann@Example.com')
  await ann.listUsers()
  t.match(ann.userId, /^[1-9]\d{8}$/, 'it finds itself by the address that it registered')
  t.same(ann.contacts, [], 'Ben is not there yet')
  await ben.login('ben@example.com')
  await ben.listUsers()
  await ann.listUsers()
  t.same(
    ann.contacts.map(({ id }) => id),
    [ben.userId],
  )
  t.same(
    ben.contacts.map(({ id }) => id),
    [ann.userId],
  )

  ann.write(ben.userId, 'hello 你好')
  await Promise.all([ann.read(), ben.read()])
  ben.write(ann.userId, 'hi')
  await Promise.all([ann.read(), ben.read()])
  t.same(ben.drawn, ['hello 你好'])
  t.same(ann.drawn, ['hi'])
  t.same(ann.codes, [203, 202, 201])

  await ben.client.close()
  ann.write(ben.userId, 'are you there?')
  await ann.read()
  const again = await desktop(t, gateway)
  await again.login('ben@example.com')
  await again.read()
  t.same(again.drawn, ['are you there?'])
  t.same(again.codes, [202])
  t.same([...ann.client.unread, ...again.client.unread], [])
})

t.test('what it does by mistake is answered with a code that it knows or passes over', async t => {
  const gateway = await startGateway(t)
  const ann = await desktop(t, gateway)
  await ann.register('ann@example.com')
  await ann.register('ann@example.com')
  await ann.login('nobody@example.com')
  await ann.login('ann@example.com')
  // No contact chosen, and nothing typed.
  ann.write('', 'hello')
  await ann.read()
  ann.write('100000000', '')
  await ann.read()
  const second = await desktop(t, gateway)
  await second.login('ann@example.com')
  t.same(ann.codes, [203, 10003, 10000, 202, 10010, 10101])
  t.same(second.codes, [10005])
  t.same(ann.drawn, [])
})

t.test('frames for clients that asked for more never reach it', async t => {
  const gateway = await startGateway(t, { 'sessions.multiple': 'allow' })
  const ann = await desktop(t, gateway)
  await ann.register('ann@example.com')
  await ann.login('ann@example.com')
  await ann.listUsers()
  const modern = await jsonClient(t, gateway)
  const login = {
    email: 'ann@example.com',
    password: 'p@ssw0rd',
    device: 'phone',
    events: ['dropped', 'presence'],
  }
  await modern.action('login', login)
  await modern.ask({
    type: 'message',
    id: 'x',
    data: { recipient: ann.userId, content: 'to all my devices' },
  })
  await ann.read()
  await modern.close()
  await ann.listUsers()
  t.same(ann.drawn, ['to all my devices'])
  t.same(ann.codes, [203, 202])
})
