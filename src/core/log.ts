/** One JSON object a line on stdout: `time`, `level`, `event`, ids, sizes. Never content, passwords or tokens. */
import { createRequire } from 'node:module'
import { stdout } from 'node:process'
import { type DestinationStream, type Logger, pino, stdTimeFunctions } from 'pino'
import { LogRepeats } from './log-repeats.js'

export type { Logger } from 'pino'

interface LogOptions {
  /** Lowest level that is written; 'silent' writes nothing. */
  readonly level: string
  readonly pretty: 'auto' | 'always' | 'never'
  /** How long refusals and faults that repeat are counted instead of written, ms; 0 = never. */
  readonly repeatWindow?: number
}

const REPEAT_WINDOW_MS = 10_000

/** Last defence: these are not handed to a logger in the first place. */
const SECRET = [
  'password',
  'newPassword',
  'passwordHash',
  'token',
  'refresh',
  'authorization',
  'content',
  'text',
  'payload',
]

/** Bytes of lines that wait for a reader of stdout who takes nothing; beyond it lines are dropped. */
const MAX_WAITING_BYTES = 16 * 2 ** 20

/** @param sink takes the lines instead of stdout, for tests */
export function createLogger(options: LogOptions, sink: Sink = stdoutSink()): Logger {
  const { level, pretty, repeatWindow = REPEAT_WINDOW_MS } = options
  const repeats = new LogRepeats(repeatWindow)
  const isPretty = pretty === 'always' || (pretty === 'auto' && stdout.isTTY)
  return pino(
    {
      level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) },
      hooks: {
        logMethod(args, method) {
          const [about, message] = args as unknown[]
          const write = (...line: [object, string]) => method.apply(this, line as Parameters<typeof method>)
          if (repeats.isFirst(about, message, write)) method.apply(this, args)
        },
      },
      // A level deeper would double the cost of every line.
      redact: SECRET.flatMap(name => [name, `*.${name}`]),
    },
    withRepeats(isPretty ? prettySink(sink) : sink, repeats),
  )
}

interface Sink extends DestinationStream {
  /** Calls back when all is written. */
  flush?(done: () => void): void
}

/** What was counted is said before the end. */
function withRepeats(sink: Sink, repeats: LogRepeats): Sink {
  return {
    write: line => sink.write(line),
    flush: done => {
      repeats.flush()
      if (sink.flush === undefined) done()
      else sink.flush(done)
    },
  }
}

let stdoutOnce: Sink | undefined

/** One for all loggers: each would add a listener. */
function stdoutSink(): Sink {
  stdoutOnce ??= openStdout()
  return stdoutOnce
}

/**
 * Stdout, never waited for: a reader of the log who stalls must stall neither the gateway nor its end. `logger.flush`
 * calls back once all is written. (pino's own destinations freeze in the first case, or hang in exit in the second.)
 */
function openStdout(): Sink {
  // Node makes a pipe on stdout blocking; there is no public way to say otherwise.
  const { _handle }: { _handle?: { setBlocking?(isBlocking: boolean): void } } = Object(stdout)
  _handle?.setBlocking?.(false)
  // A full disk or a gone reader is no reason to stop serving: the line is lost, the next one is tried again.
  stdout.on('error', () => undefined)
  return {
    write: line => stdout.writableLength < MAX_WAITING_BYTES && stdout.write(line),
    flush: done => stdout.write('', () => done()),
  }
}

/**
 * In the same process and turn, unlike pino's transports: nothing is lost when the process ends. Loaded only here: a
 * log of JSON, which is what a service writes, has no use for it.
 */
function prettySink(sink: Sink): Sink {
  const { prettyFactory } = createRequire(import.meta.url)('pino-pretty') as typeof import('pino-pretty')
  const prettify = prettyFactory({
    ignore: 'event',
    translateTime: 'SYS:HH:MM:ss.l',
    messageFormat: '{event} {msg}',
    singleLine: true,
  })
  return { ...sink, write: line => sink.write(prettify(line)) }
}
