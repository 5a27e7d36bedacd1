/** config/prometheus-alerts.yaml and config/grafana-dashboard.json, against the metrics that the gateway has. */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { parse, stringify } from 'yaml'
import { startGateway } from '../helpers/gateway.js'

const ALERTS = fileURLToPath(new URL('../../config/prometheus-alerts.yaml', import.meta.url))
const DASHBOARD = fileURLToPath(new URL('../../config/grafana-dashboard.json', import.meta.url))
const isInstalled = spawnSync('promtool', ['--version']).error === undefined

interface Rule {
  readonly alert: string
  readonly expr: string
  readonly annotations: { readonly summary: string; readonly action: string }
}
interface Panel {
  readonly title: string
  readonly targets: readonly { readonly expr: string }[]
}

const rules: readonly Rule[] = parse(readFileSync(ALERTS, 'utf8')).groups[0].rules
const panels: readonly Panel[] = JSON.parse(readFileSync(DASHBOARD, 'utf8')).panels

/** Names of metrics in an expression, with the labels that it selects or groups by. */
function used(expr: string): { names: string[]; labels: string[] } {
  const names = Array.from(expr.matchAll(/\b(?:mumi|process|nodejs)_\w+/g), ([name]) => name)
  const selected = Array.from(expr.matchAll(/[{,]\s*(\w+)\s*=/g), ([, label = '']) => label)
  const grouped = Array.from(expr.matchAll(/by \(([^)]*)\)/g), ([, list = '']) => list.split(/,\s*/)).flat()
  return { names, labels: [...selected, ...grouped] }
}

/** Set by Prometheus itself, or the bucket's. */
const FOREIGN = ['job', 'instance', 'le']

t.test('alerts and panels use only metrics and labels that are there', async t => {
  const gateway = await startGateway(t)
  const text = await (await fetch(`${gateway.http}/metrics`)).text()
  const declared = new Set(Array.from(text.matchAll(/^# TYPE (\w+)/gm), ([, name]) => name))
  const source = ['metrics', 'watched']
    .map(file => readFileSync(new URL(`../../src/core/${file}.ts`, import.meta.url), 'utf8'))
    .join('')
  const expressions = [
    ...rules.map(({ expr }) => expr),
    ...panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
  ]
  t.ok(expressions.length > 30)
  for (const expr of expressions) {
    const { names, labels } = used(expr)
    for (const name of names) t.ok(declared.has(name.replace(/_bucket$/, '')), name)
    for (const label of labels.filter(label => !FOREIGN.includes(label)))
      t.ok(source.includes(`'${label}'`) || source.includes(`{ ${label} }`), `${label} in ${expr}`)
  }
  t.ok(rules.every(({ annotations }) => annotations.summary !== '' && annotations.action !== ''))
})

/** What makes an alert fire: samples a minute of one series, as promtool writes them. */
const FIRING: Readonly<Record<string, readonly (readonly [series: string, values: string])[]>> = {
  MumiDown: [['up{job="mumi",instance="a"}', '0x30']],
  MumiRestarts: [
    [
      'process_start_time_seconds{job="mumi",instance="a"}',
      '1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20',
    ],
  ],
  MumiStoreFails: [
    ['mumi_requests_total{instance="a",front="json",request="message",code="10105"}', '_x14 1x20'],
  ],
  MumiStoreSlow: bucketed('mumi_store_seconds'),
  MumiDeliverySlow: bucketed('mumi_deliver_seconds'),
  MumiEventLoopBusy: [['nodejs_eventloop_lag_p99_seconds{job="mumi",instance="a"}', '0.3x30']],
  MumiFilesShort: [
    ['process_open_fds{job="mumi",instance="a"}', '90x30'],
    ['process_max_fds{job="mumi",instance="a"}', '100x30'],
  ],
  MumiOutOfFiles: [['mumi_out_of_files_total{instance="a"}', '0x15 1x15']],
  MumiConnectionsFull: [['mumi_limited_total{instance="a",limit="limits.connections"}', '_x14 1x20']],
  MumiMessagesDropped: [['mumi_messages_dropped_total{instance="a",limit="inbox.maxMessages"}', '_x14 1x20']],
  MumiFaults: [['mumi_faults_total{instance="a",where="ws.message"}', '3x10 3+1x20']],
  MumiDiskNearlyFull: [['mumi_disk_free_bytes{instance="a"}', '5e8x30']],
  MumiDiskSlow: bucketed('mumi_disk_sync_seconds', ['0.5', '2.5', '+Inf']),
  MumiInboxesFull: [['mumi_limited_total{instance="a",limit="inbox.maxMessages"}', '_x14 1x20']],
  MumiLoginsSlow: bucketed('mumi_password_wait_seconds', ['0.5', '2.5', '+Inf']),
  MumiDevicesParked: [
    ['mumi_sessions{instance="a",front="json",state="live"}', '40x30'],
    ['mumi_sessions{instance="a",front="mqtt",state="parked"}', '11x30'],
  ],
  MumiReconnectLoop: [
    ['mumi_connections_ended_total{instance="a",front="mqtt",reason="taken-over"}', '0+60x30'],
  ],
}

/** Most values are above the first bound. */
function bucketed(name: string, bounds = ['0.1', '1', '+Inf']): (readonly [string, string])[] {
  return bounds.map((le, i) => [`${name}_bucket{instance="a",le="${le}"}`, i === 0 ? '0+1x30' : '0+100x30'])
}

/** The same gateway, well. */
const WELL = [
  ['up{job="mumi",instance="b"}', '1x30'],
  ['process_start_time_seconds{job="mumi",instance="b"}', '1x30'],
  ['mumi_requests_total{instance="b",front="json",request="message",code="201"}', '0+60x30'],
  ['mumi_requests_total{instance="b",front="json",request="message",code="10105"}', '7x30'],
  ...['0.1', '1', '+Inf'].map(
    le => [`mumi_store_seconds_bucket{instance="b",le="${le}"}`, '0+100x30'] as const,
  ),
  ['nodejs_eventloop_lag_p99_seconds{job="mumi",instance="b"}', '0.02x30'],
  ['process_open_fds{job="mumi",instance="b"}', '50x30'],
  ['process_max_fds{job="mumi",instance="b"}', '100x30'],
  ['mumi_out_of_files_total{instance="b"}', '0x30'],
  ['mumi_messages_dropped_total{instance="b",limit="inbox.maxMessages"}', '4x30'],
  ['mumi_faults_total{instance="b",where="ws.message"}', '1x30'],
  ['mumi_disk_free_bytes{instance="b"}', '5e10x30'],
  ['mumi_disk_sync_seconds_bucket{instance="b",le="0.5"}', '0+100x30'],
  ['mumi_disk_sync_seconds_bucket{instance="b",le="+Inf"}', '0+100x30'],
  ['mumi_password_wait_seconds_bucket{instance="b",le="0.5"}', '0+100x30'],
  ['mumi_password_wait_seconds_bucket{instance="b",le="+Inf"}', '0+100x30'],
  ['mumi_limited_total{instance="b",limit="inbox.maxMessages"}', '4x30'],
  ['mumi_sessions{instance="b",front="json",state="live"}', '100x30'],
  ['mumi_sessions{instance="b",front="json",state="parked"}', '11x30'],
  ['mumi_connections_ended_total{instance="b",front="mqtt",reason="taken-over"}', '0+6x30'],
] as const

function promtool(t: Test, ...args: string[]): void {
  const { status, stdout, stderr } = spawnSync('promtool', args, { encoding: 'utf8' })
  t.equal(status, 0, `${stdout}\n${stderr}`)
}

t.test(
  'each alert fires when it should, and none while all is well',
  { skip: !isInstalled && 'no promtool' },
  async t => {
    t.same(
      Object.keys(FIRING),
      rules.map(({ alert }) => alert),
      'each alert has its series',
    )
    const series = (all: readonly (readonly [string, string])[]) =>
      all.map(([series, values]) => ({ series, values }))
    const fires = Object.entries(FIRING).map(([name, bad]) => ({
      interval: '1m',
      input_series: series([...bad, ...WELL]),
      promql_expr_test: [
        {
          expr: `count(ALERTS{alertname="${name}",alertstate="firing"})`,
          eval_time: '17m',
          exp_samples: [{ value: 1 }],
        },
        { expr: 'count(ALERTS{instance="b"})', eval_time: '17m', exp_samples: [] },
      ],
    }))
    const file = join(t.testdir(), 'tests.yaml')
    writeFileSync(file, stringify({ rule_files: [ALERTS], evaluation_interval: '1m', tests: fires }))
    promtool(t, 'check', 'rules', '--lint-fatal', ALERTS)
    promtool(t, 'test', 'rules', file)
  },
)

t.test('the expressions of the panels are PromQL', { skip: !isInstalled && 'no promtool' }, async t => {
  const filled = (expr: string) => expr.replaceAll('$__rate_interval', '5m').replaceAll('$instance', '.*')
  const recorded = panels
    .flatMap(({ targets }) => targets)
    .map(({ expr }, i) => ({ record: `panel:${i}`, expr: filled(expr) }))
  const file = join(t.testdir(), 'panels.yaml')
  writeFileSync(file, stringify({ groups: [{ name: 'panels', rules: recorded }] }))
  promtool(t, 'check', 'rules', file)
})
