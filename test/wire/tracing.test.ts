/** Traces by OTLP, sent to a collector over HTTP, with real clients. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { loggedIn, mqttClient, register, startGateway } from '../helpers/gateway.js'

interface Span {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
  readonly attributes: readonly { readonly key: string; readonly value: Record<string, unknown> }[]
}

/** Takes OTLP as JSON. `spans` resolves when a trace of so many spans has come. */
async function collector(t: Test) {
  const all: Span[] = []
  const paths = new Set<string>()
  let status = 200
  let refusals = 0
  let wake: () => void = () => undefined
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    paths.add(`${request.method} ${request.url}`)
    const { resourceSpans } = JSON.parse(Buffer.concat(chunks).toString())
    if (status === 200)
      for (const { scopeSpans } of resourceSpans) for (const { spans } of scopeSpans) all.push(...spans)
    else refusals++
    response.writeHead(status, { 'content-type': 'application/json' }).end('{}')
    wake()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  t.teardown(() => server.closeAllConnections())
  const woken = () =>
    new Promise<void>(resolve => {
      wake = resolve
    })
  /** Resolves when so many exports were refused. */
  const refused = async (count: number) => {
    while (refusals < count) await woken()
  }
  const trace = async (of: (spans: readonly Span[]) => boolean): Promise<readonly Span[]> => {
    for (;;) {
      const found = groups(all).find(of)
      if (found !== undefined) return found
      await woken()
    }
  }
  const setStatus = (code: number) => {
    status = code
  }
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    trace,
    paths,
    all,
    setStatus,
    refused,
  }
}

function groups(all: readonly Span[]): Span[][] {
  const byTrace = new Map<string, Span[]>()
  for (const span of all) byTrace.set(span.traceId, [...(byTrace.get(span.traceId) ?? []), span])
  return [...byTrace.values()]
}

const attribute = (span: Span, key: string) =>
  Object.values(span.attributes.find(one => one.key === key)?.value ?? {})[0]
const named = (spans: readonly Span[], name: string) => spans.filter(span => span.name === name)
const message = (recipient: string, content: string) => ({ type: 'message', data: { recipient, content } })

t.test('one trace from a frame to the commit and to each delivery', async t => {
  const { url, trace, paths, all } = await collector(t)
  const gateway = await startGateway(t, { 'tracing.otlp.url': url, 'tracing.sample': 1 })
  const ann = await register(t, gateway)
  const reader = await loggedIn(t, gateway, ann)
  const device = await mqttClient(t, gateway, {
    username: ann.email,
    password: ann.password,
    clientId: 'phone',
  })
  await device.mqtt.subscribeAsync(`users/${ann.id}/inbox/#`, { qos: 1 })
  const sender = await loggedIn(t, gateway)
  await sender.ask(message(ann.id, 'a secret text'))
  await Promise.all([reader.next(), device.next()])
  const spans = await trace(
    spans => named(spans, 'deliver').length === 2 && named(spans, 'message').length === 1,
  )
  t.equal(spans.length, 4)
  t.same([...paths], ['POST /v1/traces'])
  const [root] = named(spans, 'message')
  const [store] = named(spans, 'store')
  if (root === undefined || store === undefined) return t.fail('spans')
  t.notOk(root.parentSpanId)
  for (const span of spans) {
    if (span !== root) t.equal(span.parentSpanId, root.spanId)
    t.ok(BigInt(span.startTimeUnixNano) <= BigInt(span.endTimeUnixNano), span.name)
  }
  t.ok(BigInt(root.startTimeUnixNano) <= BigInt(store.startTimeUnixNano))
  t.ok(Math.abs(Number(BigInt(root.endTimeUnixNano) / 1_000_000n) - Date.now()) < 60_000, 'wall time')
  t.equal(attribute(root, 'mumi.outcome'), 'MESSAGE_SUCCESS')
  t.same(
    named(spans, 'deliver')
      .map(span => attribute(span, 'mumi.front'))
      .sort(),
    ['json', 'mqtt'],
  )
  t.notMatch(JSON.stringify(all), /a secret text|correct horse|@example/, 'no content, password or email')
})

t.test('what waited for a user who was away, a refusal, a PUBLISH, and a traceparent', async t => {
  const { url, trace } = await collector(t)
  const gateway = await startGateway(t, {
    ...{ 'tracing.otlp.url': `${url}/own/path`, 'tracing.sample': 1_000_000, 'tracing.traceparent': true },
  })
  const ann = await register(t, gateway)
  const bob = await register(t, gateway)
  const device = await mqttClient(t, gateway, {
    ...{ username: bob.email, password: bob.password, clientId: 'd', protocolVersion: 5 },
  })
  const parent = (flags: string, n: number) => `00-${String(n).padStart(32, 'a')}-${'b'.repeat(16)}-${flags}`
  const publish = (topic: string, traceparent: string) =>
    device.mqtt.publishAsync(topic, 'hello', { qos: 1, properties: { userProperties: { traceparent } } })
  const inbox = `users/${ann.id}/inbox`
  await publish(inbox, parent('00', 1))
  await publish(inbox, `${parent('01', 2)}-more`)
  await publish(inbox, parent('01', 3))
  await publish('elsewhere', parent('01', 4)).catch(() => undefined)
  const reader = await loggedIn(t, gateway, ann)
  await reader.next()
  const spans = await trace(spans => spans.length === 3)
  t.equal(spans[0]?.traceId, String(3).padStart(32, 'a'))
  t.equal(named(spans, 'publish')[0]?.parentSpanId, 'b'.repeat(16))
  t.equal(named(spans, 'deliver').length, 1, 'when its user came')
})

t.test('a client has no say unless the config gives it one', async t => {
  const { url, trace } = await collector(t)
  const gateway = await startGateway(t, { 'tracing.otlp.url': url, 'tracing.sample': 1 })
  const bob = await register(t, gateway)
  const device = await mqttClient(t, gateway, {
    ...{ username: bob.email, password: bob.password, clientId: 'd', protocolVersion: 5 },
  })
  const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`
  await device.mqtt.publishAsync(`users/${bob.id}/inbox`, 'x', {
    ...{ qos: 1, properties: { userProperties: { traceparent } } },
  })
  const spans = await trace(spans => named(spans, 'publish').length === 1)
  t.not(spans[0]?.traceId, 'a'.repeat(32))
})

t.test('a collector that is down costs one line, and chat goes on', async t => {
  const { url, setStatus, trace, refused } = await collector(t)
  setStatus(400)
  const gateway = await startGateway(t, { 'tracing.otlp.url': url, 'tracing.sample': 1 })
  const sender = await loggedIn(t, gateway)
  const send = async () => {
    t.match(await sender.ask(message(sender.userId, 'x')), { code: 201 })
    await sender.next()
  }
  await send()
  await gateway.logged('tracing.failed')
  await send()
  await refused(2)
  setStatus(200)
  const spans = trace(() => true)
  await send()
  await gateway.logged('tracing.recovered')
  await spans
  t.equal(gateway.logs.filter(({ event }) => event === 'tracing.failed').length, 1)
})
