/** What happens, as metrics in the Prometheus text format (prom-client). What is asked at a scrape is in watched.ts. */

import { Counter, collectDefaultMetrics, Gauge, type Metric, Registry } from 'prom-client'
import { Buckets } from './histogram.js'
import { Samples } from './samples.js'
import { version } from './version.js'
import { type Watched, watch } from './watched.js'

/**
 * A counter for events of every message: `inc` is one addition, and prom-client (one hash per call) reads it at a
 * scrape.
 */
interface Tally {
  inc(by?: number): void
}

/** The delay of the event loop is looked at so often, ms; at rest it reads as much. */
const LAG_EVERY_MS = 20
const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
/** Messages of one commit. */
const ROWS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096]

/** `admin`: the admin socket. `pages`: the pages below `/account`. `rest`: the API below `/api`. */
export type FrontEnd = 'json' | 'mqtt' | 'admin' | 'pages' | 'rest'

export class Metrics {
  readonly registry = new Registry()

  readonly connections = this.#gauge('mumi_connections', 'Open connections by front end.', ['front'])
  readonly draining = this.#gauge('mumi_draining', '1 while clients are sent away before the process ends.')
  readonly #accepted = this.#tally(
    'mumi_messages_accepted_total',
    'Messages stored: answered 201, 204 or PUBACK.',
  )
  readonly delivered = this.#tally(
    'mumi_messages_delivered_total',
    'Messages written to a device, repeats included.',
  )
  readonly confirmed = this.#tally('mumi_messages_confirmed_total', 'Messages confirmed by a device.')
  readonly dropped = this.#counter(
    'mumi_messages_dropped_total',
    'Unconfirmed messages removed by a limit, or by the operator.',
    ['limit'],
  )
  readonly expired = this.#tally(
    'mumi_messages_expired_total',
    'Messages that a device was not sent before they expired.',
  )
  readonly limited = this.#counter(
    'mumi_limited_total',
    'How often a limit was reached, by its config key.',
    ['limit'],
  )
  readonly closed = this.#counter('mumi_connections_closed_total', 'Connections that the server ended.', [
    'front',
    'reason',
  ])
  readonly logins = this.#counter('mumi_logins_total', 'Logins and CONNECTs by what became of them.', [
    'front',
    'outcome',
  ])
  readonly mqttConnects = this.#counter(
    'mumi_mqtt_connects_total',
    'CONNECTs by the version of MQTT and by what became of them, as in `mumi_logins_total`.',
    ['version', 'outcome'],
  )
  readonly ended = this.#counter(
    'mumi_connections_ended_total',
    'Connections that ended: `left` with a goodbye of the client, `dropped` without, else why the server ended it.',
    ['front', 'reason'],
  )
  readonly faults = this.#counter(
    'mumi_faults_total',
    'Exceptions that a handler should not have thrown; `process` are those of an unknown one.',
    ['where'],
  )
  readonly registrations = this.#counter(
    'mumi_registrations_total',
    'New accounts that were asked for, by what became of them.',
    ['front', 'outcome'],
  )
  readonly outOfFiles = this.#counter(
    'mumi_out_of_files_total',
    'Looks, one a second, that found no file descriptor left (EMFILE, ENFILE): new connections are closed.',
  )
  readonly mails = this.#counter(
    'mumi_mails_total',
    'Letters by what became of them: `sent`, `delayed` (once a failure), `refused` by the server, `given-up`, `dropped` by mail.maxWaiting.',
    ['outcome'],
  )
  readonly mailsWaiting = this.#gauge('mumi_mails_waiting', 'Letters that the mail server does not have yet.')
  readonly fileUploads = this.#counter(
    'mumi_file_uploads_total',
    'Uploads of files by what became of them: `stored`, or why not.',
    ['outcome'],
  )
  readonly fileBytes = this.#counter(
    'mumi_file_bytes_total',
    'Bytes of files that were uploaded (`in`) and read (`out`).',
    ['direction'],
  )
  readonly refusedPackets = this.#counter('mumi_mqtt_refused_total', 'MQTT packets refused.', ['reason'])
  /** Front end → request → code → count. */
  readonly #answered: Record<FrontEnd, Map<string, Map<number, number>>> = {
    json: new Map(),
    mqtt: new Map(),
    admin: new Map(),
    pages: new Map(),
    rest: new Map(),
  }
  readonly #stored = this.#histogram(
    'mumi_store_seconds',
    'From accepting the first message of a commit to its being durable; one observation a commit.',
  )
  readonly #rows = this.#histogram('mumi_store_rows', 'Messages of one commit.', ROWS)
  readonly #sent = this.#histogram(
    'mumi_deliver_seconds',
    'From accepting the first message of a commit for a connected device to handing all of them over.',
  )
  /** Of the embedded store. */
  readonly commits = this.#histogram(
    'mumi_lmdb_commit_seconds',
    'Commits of LMDB, which are made behind the journal.',
  )
  readonly syncs = this.#histogram(
    'mumi_disk_sync_seconds',
    'Syncs of the files of the embedded store to the disk.',
  )
  readonly passwordWaits = this.#histogram(
    'mumi_password_wait_seconds',
    'How long a password waited for its turn to be hashed.',
  )
  readonly passwordHashes = this.#histogram(
    'mumi_password_hash_seconds',
    'How long a password took to be hashed, from its turn on.',
  )
  readonly #confirmSeconds = { json: new Buckets(SECONDS), mqtt: new Buckets(SECONDS) }
  /** Of one message in 32. */
  readonly samples = new Samples(
    this.#histogram(
      'mumi_delivery_lag_seconds',
      'From accepting a message to writing it to a device that was connected by then; one message in 32.',
    ),
    this.#confirmSeconds,
  )

  constructor() {
    // Process, garbage collection and event-loop delay (nodejs_eventloop_lag_*).
    // By default it would wake the process a hundred times a second.
    collectDefaultMetrics({ register: this.registry, eventLoopMonitoringPrecision: LAG_EVERY_MS })
    this.#gauge('mumi_build_info', 'Always 1; the labels tell what runs.', ['version', 'node']).set(
      { version: version(), node: process.versions.node },
      1,
    )
    this.#registerHistogram(
      'mumi_confirm_seconds',
      'From accepting a message to its confirmation by a device that was connected by then; one message in 32.',
      Object.entries(this.#confirmSeconds).map(([front, buckets]) => [{ front }, buckets]),
    )
    const answered = this.#answered
    new Counter({
      name: 'mumi_requests_total',
      help: 'Answered requests.',
      labelNames: ['front', 'request', 'code'],
      registers: [this.registry],
      collect() {
        this.reset()
        for (const [front, requests] of Object.entries(answered)) {
          for (const [request, codes] of requests)
            for (const [code, count] of codes) this.inc({ front, request, code }, count)
        }
      },
    })
  }

  /** Counts one answered request. @param request its name, or 'invalid' */
  answered(front: FrontEnd, request: string, code: number): void {
    let codes = this.#answered[front].get(request)
    if (codes === undefined) {
      codes = new Map()
      this.#answered[front].set(request, codes)
    }
    codes.set(code, (codes.get(code) ?? 0) + 1)
  }

  /** A commit made `count` messages durable, `seconds` after the first of them was accepted. */
  stored(count: number, seconds: number): void {
    this.#accepted.inc(count)
    this.#stored.observe(seconds)
    if (count > 0) this.#rows.observe(count)
  }

  /** A commit's messages were handed to connected devices, `seconds` after the first of them was accepted. */
  sent(seconds: number): void {
    this.#sent.observe(seconds)
  }

  /** Gauges that are asked at each scrape. To be called once. */
  watch(sources: Watched): void {
    watch(this.registry, sources)
  }

  /** Sums over the labels, by the names of our counters and gauges. */
  async totals(): Promise<Readonly<Record<string, number>>> {
    const all = await this.registry.getMetricsAsJSON()
    const isSum = ({ values: [first] }: (typeof all)[number]) => !('le' in (first?.labels ?? {}))
    const ours = all.filter(one => one.name.startsWith('mumi_') && isSum(one))
    return Object.fromEntries(
      ours.map(({ name, values }) => [name, values.reduce((sum, { value }) => sum + value, 0)]),
    )
  }

  #gauge<T extends string>(name: string, help: string, labelNames: T[] = []): Gauge<T> {
    return new Gauge({ name, help, labelNames, registers: [this.registry] })
  }

  #counter<T extends string>(name: string, help: string, labelNames: T[] = []): Counter<T> {
    return new Counter({ name, help, labelNames, registers: [this.registry] })
  }

  #tally(name: string, help: string): Tally {
    let count = 0
    new Counter({
      name,
      help,
      registers: [this.registry],
      collect() {
        this.reset()
        this.inc(count)
      },
    })
    return {
      inc(by = 1) {
        count += by
      },
    }
  }

  #histogram(name: string, help: string, bounds: readonly number[] = SECONDS): Buckets {
    const buckets = new Buckets(bounds)
    this.#registerHistogram(name, help, [[{}, buckets]])
    return buckets
  }

  #registerHistogram(
    name: string,
    help: string,
    series: readonly (readonly [labels: Record<string, string>, Buckets])[],
  ): void {
    const get = async () => {
      const values = series.flatMap(([labels, buckets]) => buckets.samples(name, labels))
      return { name, help, type: 'histogram', values, aggregator: 'sum' }
    }
    // All that the registry asks of a metric.
    this.registry.registerMetric({ name, help, get } as unknown as Metric)
  }
}
