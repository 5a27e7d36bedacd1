import t from 'tap'
import { loggedIn, register, startGateway } from '../helpers/gateway.js'

const message = (recipient: string, content: string) => ({ type: 'message', data: { recipient, content } })

t.test(
  'beyond inbox.maxMessages the oldest go; who asked is told which, who did not just gets the rest',
  async t => {
    const gateway = await startGateway(t, { 'inbox.maxMessages': 10 })
    const sender = await loggedIn(t, gateway)
    const account = await register(t, gateway)
    const count = 40
    for (let i = 1; i <= count; i++)
      t.equal((await sender.ask(message(account.id, `${i}`))).code, 201, 'the sender is not refused')

    const modern = await loggedIn(t, gateway, account, {
      device: 'd',
      from: 'start',
      events: ['dropped'],
      ack: 'explicit',
    })
    const { event, data } = await modern.next<{ event: string; data: { from: number; to: number } }>()
    t.match({ event, data }, { event: 'dropped', data: { from: 1, to: Number } })
    // Trimming runs beside the sending: it may be a few behind.
    t.ok(data.to >= count - 20 && data.to <= count - 10, `dropped up to ${data.to}`)
    for (let seq = data.to + 1; seq <= count; seq++) t.match(await modern.next(), { seq, content: `${seq}` })
    await modern.close()

    const old = await loggedIn(t, gateway, account)
    const first = await old.next<{ content: string }>()
    t.ok(Number(first.content) > data.from)
    for (let i = Number(first.content) + 1; i <= count; i++) t.match(await old.next(), { content: `${i}` })
    t.same(old.unread, [])

    const lines = gateway.logs.filter(({ event }) => event === 'message.dropped')
    t.match(lines[0], { level: 'warn', userId: account.id, limit: 'inbox.maxMessages' })
    const metrics = await (await fetch(`${gateway.http}/metrics`)).text()
    const [, dropped] = metrics.match(/mumi_messages_dropped_total\{limit="inbox\.maxMessages"\} (\d+)/) ?? []
    t.ok(Number(dropped) >= data.to)
  },
)
