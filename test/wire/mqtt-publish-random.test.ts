/** Random packets get the same answers however their bytes are cut. */
import mqttPacket, { type Packet } from 'mqtt-packet'
import t, { type Test } from 'tap'
import { register, startGateway, type TestAccount } from '../helpers/gateway.js'
import { contents, inboxOf, message } from '../helpers/inbox-messages.js'
import { type RawMqtt, rawConnect } from '../helpers/raw-mqtt.js'
import { turn } from '../helpers/transport.js'

const gateway = await startGateway(t, { 'mqtt.acl': 'open' })

/** Numbers from 0 below 1, the same for the same seed (a linear congruential generator). */
const seeded = (seed: number) => () => {
  seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
  return seed / 0x1_0000_0000
}

/** Most are messages; the others are what may stand between. */
function randomPacket(random: () => number, n: number, { id }: TestAccount): Packet {
  const pick = <T>(...all: readonly T[]): T => all[Math.floor(random() * all.length)] as T
  // Few identifiers: some are in use, and a DUP may be a resend.
  const messageId = 1 + Math.floor(random() * 6)
  const mine = `users/${id}/inbox`
  const topic = pick(mine, mine, 'users/999999999/inbox', 'other/x')
  const payload = pick<string | Buffer>(`${n}`, `${n}`, `${n}`, '', Buffer.from([0xc3, 0x28]), 'same', 'a\0b')
  const dup = random() < 0.2
  const qos = pick(1, 1, 1, 1, 1, 1, 2, 0) as 0 | 1 | 2
  if (qos === 2) return { ...message(topic, `${n}`, 100 + n), qos: 2 } as Packet
  if (qos === 0) return { ...message(mine, `${n}`, 0), qos: 0 } as Packet
  return pick<Packet>(
    message(topic, payload, messageId, dup),
    message(topic, payload, messageId, dup),
    message(mine, `${n}`, messageId),
    message(mine, `${n}`, messageId),
    { cmd: 'puback', messageId: pick(0x8001, 0x8002, 0x9000, 3) },
    { cmd: 'subscribe', messageId: 50, subscriptions: [{ topic: `users/${id}/replies`, qos: 0 }] },
    { cmd: 'pingreq' },
  )
}

type Answers = Map<string, unknown[]>

/** Takes the answers to these packets; they come in order within a kind, and a PUBLISH whenever it likes. */
async function takeAnswers(client: RawMqtt, packets: readonly Packet[], answers: Answers): Promise<void> {
  const isAnswered = (packet: Packet) =>
    packet.cmd !== 'puback' && !(packet.cmd === 'publish' && packet.qos === 0)
  for (let open = packets.filter(isAnswered).length; open > 0; ) {
    const packet = await client.next()
    const said = packet.cmd === 'publish' ? JSON.parse(packet.payload.toString()) : undefined
    const kind = packet.cmd === 'publish' ? packet.topic.replace(/[0-9]+/g, '…') : packet.cmd
    answers.set(kind, [...(answers.get(kind) ?? []), said?.content ?? said ?? packet])
    if (said === undefined) open--
  }
}

/** Sends rounds of packets, whole or cut anywhere. @returns every answer, by kind of packet */
async function answersTo(t: Test, seed: number, isCut: boolean): Promise<Answers> {
  const random = seeded(seed)
  const cuts = seeded(seed + 1000)
  const account = await register(t, gateway)
  const client = await rawConnect(t, gateway, { account, clientId: 'sender' })
  await client.subscribe([`${inboxOf(account)}/+`, `users/${account.id}/replies`], 1)
  const answers: Answers = new Map()
  for (let round = 0; round < 12; round++) {
    const packets = Array.from({ length: 8 }, (_, n) => randomPacket(random, round * 8 + n, account))
    const bytes = Buffer.concat(packets.map(packet => mqttPacket.generate(packet)))
    for (let at = 0; at < bytes.length; ) {
      const next = isCut ? at + 1 + Math.floor(cuts() * (cuts() < 0.3 ? 8 : 300)) : bytes.length
      client.socket.write(bytes.subarray(at, next))
      at = next
      await turn()
    }
    await takeAnswers(client, packets, answers)
  }
  // What was delivered, and told on the reply topic, comes when it comes.
  answers.set('stored', await contents(t, gateway, account))
  for (const kind of answers.keys()) if (kind.startsWith('users')) answers.delete(kind)
  return answers
}

t.test('the same bytes get the same answers and leave the same messages, in the same order', async t => {
  for (let seed = 1; seed <= 12; seed++) {
    const found: Answers[] = []
    for (const isCut of [true, false]) {
      await t.test(`seed ${seed}, ${isCut ? 'cut' : 'whole'}`, async t => {
        found.push(await answersTo(t, seed, isCut))
      })
    }
    t.ok((found[0]?.get('puback')?.length ?? 0) > 20)
    t.same(found[0], found[1], `seed ${seed}`)
  }
})
