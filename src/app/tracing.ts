/**
 * Traces of messages by OTLP over HTTP (opentelemetry.io/docs/specs/otlp), as `tracing.*` says. OpenTelemetry is loaded here
 * and only if that is on: it takes 10 MiB and 100 ms.
 */
import type { Context, Span, SpanContext, Tracer } from '@opentelemetry/api'
import type { SpanExporter } from '@opentelemetry/sdk-trace'
import type { Config } from '../config/config.js'
import type { Logger } from '../core/log.js'
import type { FrontEnd } from '../core/metrics.js'
import type { MessageTrace, TracedCommit, Tracing } from '../core/tracing.js'
import { version } from '../core/version.js'

/** Spans that wait for the collector; further ones are dropped. */
const MAX_SPANS = 2048
const SEND_EVERY_MS = 1000
const SEND_TIMEOUT_MS = 5000
const CLOSE_MS = 2000
/** Messages whose deliveries are still told, for so long: those to a user who is away come at any time. */
const MAX_FOLLOWED = 1000
const FOLLOW_MS = 600_000
/** Of one message: a broadcast goes to everybody. */
const MAX_DELIVERIES = 100
/** Traces that clients begin, a second. */
const MAX_ASKED = 100
/** W3C Trace Context, 3.2: version 00. */
const TRACEPARENT = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$/

type Api = Pick<typeof import('@opentelemetry/api'), 'trace' | 'ROOT_CONTEXT' | 'SpanKind' | 'SpanStatusCode'>

/** @returns undefined if tracing is off */
export async function startTracing({ tracing }: Config, log: Logger): Promise<Tracing | undefined> {
  if (tracing.otlp.url === '') return undefined
  const [api, sdk, { OTLPTraceExporter }, { resourceFromAttributes }] = await Promise.all([
    import('@opentelemetry/api'),
    import('@opentelemetry/sdk-trace'),
    import('@opentelemetry/exporter-trace-otlp-http'),
    import('@opentelemetry/resources'),
  ])
  const exporter = new OTLPTraceExporter({ url: tracesUrl(tracing.otlp.url), timeoutMillis: SEND_TIMEOUT_MS })
  const provider = new sdk.TracerProvider({
    resource: resourceFromAttributes({ 'service.name': 'mumi-gateway', 'service.version': version() }),
    sampler: new sdk.AlwaysOnSampler(),
    spanProcessors: [
      new sdk.BatchSpanProcessor({
        exporter: new QuietExporter(exporter, log),
        maxQueueSize: MAX_SPANS,
        scheduledDelayMillis: SEND_EVERY_MS,
        exportTimeoutMillis: 2 * SEND_TIMEOUT_MS,
      }),
    ],
  })
  const close = async () => {
    const late = new Promise<void>(resolve => setTimeout(resolve, CLOSE_MS).unref())
    await Promise.race([provider.shutdown().catch(() => undefined), late])
  }
  return new OtlpTracing(api, provider.getTracer('mumi-gateway', version()), tracing, close)
}

/** As OTLP has it where only a host is named. */
function tracesUrl(text: string): string {
  const url = new URL(text)
  if (url.pathname === '/') url.pathname = '/v1/traces'
  return url.href
}

/** A collector that is down is one line of the log, and one when it answers again. Spans that it did not take are lost. */
class QuietExporter implements SpanExporter {
  #isDown = false

  constructor(
    private readonly exporter: SpanExporter,
    private readonly log: Logger,
  ) {}

  export(...[spans, done]: Parameters<SpanExporter['export']>): void {
    this.exporter.export(spans, result => {
      this.#tell(result.error)
      // To the SDK all is well: it would log each failure by itself.
      done({ code: 0 })
    })
  }

  #tell(err: Error | undefined): void {
    if ((err !== undefined) === this.#isDown) return
    this.#isDown = err !== undefined
    if (this.#isDown) this.log.warn({ event: 'tracing.failed', err }, 'collector does not take traces')
    else this.log.info({ event: 'tracing.recovered' }, 'collector takes traces again')
  }

  shutdown(): Promise<void> {
    return this.exporter.shutdown()
  }
}

/** A span whose children may still come. */
interface Followed {
  readonly context: Context
  readonly clock: Clock
  readonly storedAt: number
  deliveries: number
}

/** Times of one trace by the monotonic clock, ms since the epoch with fractions: a commit takes less than the wall clock's 1 ms. */
class Clock {
  readonly #offset = Date.now() - performance.now()

  at(monotonic: number): number {
    return this.#offset + monotonic
  }
}

class OtlpTracing implements Tracing {
  /** By message id, oldest first. */
  readonly #followed = new Map<string, Followed>()
  #asked = 0
  #askedSince = 0

  constructor(
    readonly api: Api,
    readonly tracer: Tracer,
    private readonly rules: Config['tracing'],
    readonly close: () => Promise<void>,
  ) {}

  begin(
    name: string,
    front: FrontEnd,
    startedAt: number,
    parent?: () => string | undefined,
  ): MessageTrace | undefined {
    const asked = this.rules.traceparent ? this.#parentOf(parent?.()) : undefined
    if (asked === undefined && Math.random() * this.rules.sample >= 1) return undefined
    if (asked !== undefined && (asked.traceFlags & 1) === 0) return undefined
    const { ROOT_CONTEXT, SpanKind, trace } = this.api
    const clock = new Clock()
    const context = asked === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, asked)
    const span = this.tracer.startSpan(
      name,
      { kind: SpanKind.SERVER, startTime: clock.at(startedAt), attributes: { 'mumi.front': front } },
      context,
    )
    return new OtlpTrace(this, span, trace.setSpan(ROOT_CONTEXT, span), clock)
  }

  /** A client may begin so many traces a second; beyond that its word counts for nothing. */
  #parentOf(text: string | undefined): SpanContext | undefined {
    const [, traceId, spanId, flags = ''] = (text !== undefined && TRACEPARENT.exec(text)) || []
    if (traceId === undefined || spanId === undefined) return undefined
    const now = performance.now()
    if (now - this.#askedSince >= 1000) {
      this.#askedSince = now
      this.#asked = 0
    }
    if (++this.#asked > MAX_ASKED) return undefined
    return { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true }
  }

  follow(messageId: string, followed: Followed): void {
    if (this.#followed.size >= MAX_FOLLOWED)
      for (const oldest of this.#followed.keys()) {
        this.#followed.delete(oldest)
        break
      }
    this.#followed.set(messageId, followed)
  }

  delivered(messageId: string, seq: number, front: FrontEnd): void {
    const followed = this.#followed.get(messageId)
    if (followed === undefined) return
    const now = performance.now()
    const { context, clock, storedAt } = followed
    if (now - storedAt > FOLLOW_MS || ++followed.deliveries > MAX_DELIVERIES) {
      this.#followed.delete(messageId)
      return
    }
    const attributes = { 'mumi.front': front, 'mumi.seq': seq, 'messaging.message.id': messageId }
    const kind = this.api.SpanKind.PRODUCER
    const startTime = clock.at(storedAt)
    this.tracer.startSpan('deliver', { kind, startTime, attributes }, context).end(clock.at(now))
  }
}

class OtlpTrace implements MessageTrace {
  constructor(
    private readonly tracing: OtlpTracing,
    private readonly span: Span,
    private readonly context: Context,
    private readonly clock: Clock,
  ) {}

  stored({ acceptedAt, storedAt, messages, message }: TracedCommit): void {
    const { clock, context, span, tracing } = this
    const attributes = { 'mumi.commit.messages': messages }
    const child = tracing.tracer.startSpan('store', { startTime: clock.at(acceptedAt), attributes }, context)
    child.end(clock.at(storedAt))
    if (message === undefined) return
    const { id, seq, repeat } = message
    span.setAttributes({ 'messaging.message.id': id, 'mumi.seq': seq, 'mumi.repeat': repeat })
    if (!repeat) tracing.follow(id, { context, clock, storedAt, deliveries: 0 })
  }

  ended(outcome: string): void {
    const { span, tracing } = this
    span.setAttribute('mumi.outcome', outcome)
    if (!/SUCCESS$/.test(outcome))
      span.setStatus({ code: tracing.api.SpanStatusCode.ERROR, message: outcome })
    span.end(this.clock.at(performance.now()))
  }
}
