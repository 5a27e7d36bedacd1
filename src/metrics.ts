/** Every metric name in one place (Prometheus text format by prom-client). */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

export type FrontEnd = 'json' | 'mqtt'

export class Metrics {
  readonly registry = new Registry()

  readonly connections = this.#gauge('mumi_connections', 'Open connections by front end.', ['front'])
  readonly accepted = this.#counter(
    'mumi_messages_accepted_total',
    'Messages stored: answered 201, 204 or PUBACK.',
  )
  readonly delivered = this.#counter(
    'mumi_messages_delivered_total',
    'Messages written to a device, repeats included.',
  )
  readonly confirmed = this.#counter('mumi_messages_confirmed_total', 'Messages confirmed by a device.')
  readonly dropped = this.#counter(
    'mumi_messages_dropped_total',
    'Unconfirmed messages removed by a limit.',
    ['limit'],
  )
  readonly closed = this.#counter('mumi_connections_closed_total', 'Connections that the server ended.', [
    'front',
    'reason',
  ])
  readonly refusedPackets = this.#counter('mumi_mqtt_refused_total', 'MQTT packets refused.', ['reason'])
  /** One label set costs prom-client a hash a call; requests are counted in a map and handed over at a scrape. */
  readonly #answered = new Map<string, number>()
  readonly #stored = this.#histogram('mumi_store_seconds', 'From accepting a message to its being durable.')
  readonly #sent = this.#histogram(
    'mumi_deliver_seconds',
    'From accepting a message to writing it to a connected device.',
  )

  constructor() {
    // Process, garbage collection and event-loop delay (nodejs_eventloop_lag_*).
    collectDefaultMetrics({ register: this.registry })
    const answered = this.#answered
    new Counter({
      name: 'mumi_requests_total',
      help: 'Answered requests.',
      labelNames: ['front', 'request', 'code'],
      registers: [this.registry],
      collect() {
        this.reset()
        for (const [key, count] of answered) {
          const [front = '', request = '', code = ''] = key.split(' ')
          this.inc({ front, request, code }, count)
        }
      },
    })
  }

  /** One request was answered with `code`. @param request its name, or 'invalid' */
  answered(front: FrontEnd, request: string, code: number): void {
    const key = `${front} ${request} ${code}`
    this.#answered.set(key, (this.#answered.get(key) ?? 0) + 1)
  }

  /** One message became durable `seconds` after it was accepted. */
  stored(seconds: number): void {
    this.accepted.inc()
    this.#stored.observe(seconds)
  }

  /** One message was written to a connected device `seconds` after it was accepted. */
  sent(seconds: number): void {
    this.#sent.observe(seconds)
  }

  #gauge<T extends string>(name: string, help: string, labelNames: T[] = []): Gauge<T> {
    return new Gauge({ name, help, labelNames, registers: [this.registry] })
  }

  #counter<T extends string>(name: string, help: string, labelNames: T[] = []): Counter<T> {
    return new Counter({ name, help, labelNames, registers: [this.registry] })
  }

  #histogram(name: string, help: string): Histogram {
    return new Histogram({ name, help, buckets: SECONDS, registers: [this.registry] })
  }
}
