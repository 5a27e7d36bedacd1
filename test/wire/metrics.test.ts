/** The metrics of a gateway with real clients: registrations, devices, what is not confirmed, times. */
import t from 'tap'
import { loggedIn, mqttClient, register, startGateway } from '../helpers/gateway.js'

const settings = { 'delivery.windowMessages': 2 }
const first = await startGateway(t, settings)
const ann = await register(t, first)
const bob = await register(t, first)

const message = (recipient: string, content: string) => ({ type: 'message', data: { recipient, content } })

async function scrape({ http }: { http: string }): Promise<(series: string) => number> {
  const text = await (await fetch(`${http}/metrics`)).text()
  return series => Number(text.split(`\n${series} `)[1]?.split('\n', 1)[0] ?? Number.NaN)
}

/** Resolves when the series has such a value. */
async function until(gateway: { http: string }, series: string, isIt: (value: number) => boolean) {
  for (;;) {
    const value = (await scrape(gateway))(series)
    if (isIt(value)) return value
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}

t.test('registrations by what became of them', async t => {
  await t.rejects(register(t, first, ann.email))
  const value = await scrape(first)
  t.equal(value('mumi_registrations_total{front="json",outcome="accepted"}'), 2)
  t.equal(value('mumi_registrations_total{front="json",outcome="taken"}'), 1)
  t.equal(value('mumi_passwords_waiting'), 0)
  t.ok(value('mumi_password_wait_seconds_count') >= 2)
  t.ok(value('mumi_password_hash_seconds_sum') > 0)
})

t.test('devices that are live, and one that must confirm before it gets more', async t => {
  const parked = await loggedIn(t, first, ann, { ack: 'explicit', device: 'slow' })
  const sender = await loggedIn(t, first, bob)
  for (let i = 0; i < 70; i++) await sender.ask(message(ann.id, `${i}`))
  await until(first, 'mumi_sessions{front="json",state="parked"}', count => count === 1)
  await until(first, 'mumi_sessions{front="json",state="live"}', count => count === 1)
  for (let seq = 2; seq <= 70; seq += 2) await parked.ask({ type: 'action', action: 'ack', data: { seq } })
  const device = await mqttClient(t, first, {
    ...{ username: bob.email, password: bob.password, clientId: 'd', clean: false },
  })
  await device.mqtt.subscribeAsync(`users/${bob.id}/inbox/#`, { qos: 1 })
  await until(first, 'mumi_sessions{front="mqtt",state="live"}', count => count === 1)
  for (let i = 0; i < 64; i++) await sender.ask(message(bob.id, `${i}`))
  await until(first, 'mumi_confirm_seconds_count{front="mqtt"}', count => count >= 1)
  const value = await scrape(first)
  t.ok(value('mumi_delivery_lag_seconds_count') >= 1)
  t.ok(value('mumi_store_rows_count') >= 70)
  await until(first, 'mumi_messages_waiting', count => count === 0)
  await device.mqtt.endAsync()
})

t.test('what nobody has confirmed, of users who are away, too', async t => {
  const sender = await loggedIn(t, first, bob)
  for (let i = 0; i < 20; i++) await sender.ask(message(ann.id, `${i}`))
  await first.close()
  const second = await startGateway(t, { ...settings, 'data.dir': first.dir })
  t.equal((await scrape(second))('mumi_inbox_round_age_seconds') >= 0, false, 'no round has ended yet')
  const most = await until(second, 'mumi_inbox_unconfirmed_max', Number.isFinite)
  t.ok(most >= 20, `${most}`)
  const value = await scrape(second)
  t.equal(value('mumi_inbox_unconfirmed{le="+Inf"}'), 2)
  t.ok(value('mumi_inbox_unconfirmed{le="10"}') < 2)
  t.ok(value('mumi_inbox_oldest_max_seconds') > 0)
  t.ok(value('mumi_disk_free_bytes') > 0)
})
