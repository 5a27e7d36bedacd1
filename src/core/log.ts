/**
 * The log: one JSON object per line on stdout with `time`, `level`, `event`, ids and sizes. Never content, passwords or
 * tokens.
 */
import { createRequire } from 'node:module'
import { stdout } from 'node:process'
import { type DestinationStream, type Logger, pino, stdSerializers, stdTimeFunctions } from 'pino'
import { LogRepeats } from './log-repeats.js'
import { type Redaction, redacted, withoutSecrets } from './redact.js'

export type { Logger } from 'pino'

interface LogOptions {
  /** Lowest level that is written; `silent` writes nothing. */
  readonly level: string
  readonly pretty: 'auto' | 'always' | 'never'
  /** What is left out of clients' addresses; default: nothing. */
  readonly redact?: Redaction
  /** Whether the lines go to a file: then `auto` means JSON. */
  readonly file?: string
  /**
   * How long repeated refusals and faults are counted instead of written, ms; default 10,000; 0 = every line is
   * written.
   */
  readonly repeatWindow?: number
}

const REPEAT_WINDOW_MS = 10_000

/** Most bytes of lines that wait if nobody reads stdout. Further lines are dropped. */
const MAX_WAITING_BYTES = 16 * 2 ** 20

/** @param sink receives the lines instead of stdout, for tests */
export function createLogger(options: LogOptions, sink: Sink = stdoutSink()): Logger {
  const { level, repeatWindow = REPEAT_WINDOW_MS, redact = 'none' } = options
  const pretty = options.file && options.pretty === 'auto' ? 'never' : options.pretty
  const repeats = new LogRepeats(repeatWindow)
  return pino(
    {
      level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: {
        level: label => ({ level: label }),
        log: about => withoutSecrets(redacted(about, redact)),
      },
      serializers: {
        err: error => (error instanceof Error ? withoutSecrets(stdSerializers.err(error)) : error),
      },
      hooks: {
        logMethod(args, method) {
          const [about, message] = args as unknown[]
          const write = (...line: [object, string]) => method.apply(this, line as Parameters<typeof method>)
          if (repeats.isFirst(about, message, write)) method.apply(this, args)
        },
      },
    },
    withRepeats(isPretty(pretty) ? prettySink(sink) : plainSink(sink), repeats),
  )
}

/** Whether stdout is for a person and not for a program. */
export const isPretty = (pretty: LogOptions['pretty']): boolean =>
  pretty === 'always' || (pretty === 'auto' && stdout.isTTY)

interface Sink extends DestinationStream {
  /** Calls back when all lines are written. */
  flush?(done: () => void): void
}

/** Writes the counts of repeated lines before the sink is flushed. */
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

/** What JSON lets stand and a terminal acts on: DEL, C1, and what ends lines or turns the direction of text. */
const UNSAFE = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g

/** Somebody looks at lines with `tail`, and what clients are called is in them. As JSON they read the same. */
const plainSink = (sink: Sink): Sink => ({ ...sink, write: line => sink.write(harmless(line)) })

const harmless = (line: string): string =>
  line.replace(UNSAFE, char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)

/** Escapes in a line of JSON of what would move the cursor; `\n` stays, which stacks have. */
const MOVES = /(?<!\\)((?:\\\\)*)\\(u00[01][0-9a-f]|[bfr])/g

let stdoutOnce: Sink | undefined

/** One sink for all loggers: each new one would add a listener to stdout. */
function stdoutSink(): Sink {
  stdoutOnce ??= openStdout()
  return stdoutOnce
}

/**
 * Writes to stdout without waiting: a reader of the log that stalls must not stall the gateway or its exit.
 * `logger.flush` calls back when all lines are written. (pino's own destinations block in the first case and hang at
 * exit in the second.)
 */
function openStdout(): Sink {
  // Node makes a pipe on stdout blocking, and there is no public way to change that.
  const { _handle }: { _handle?: { setBlocking?(isBlocking: boolean): void } } = Object(stdout)
  _handle?.setBlocking?.(false)
  // A full disk or a closed pipe must not stop the gateway: the line is lost, and the next one is tried.
  stdout.on('error', () => undefined)
  return {
    write: line => stdout.writableLength < MAX_WAITING_BYTES && stdout.write(line),
    flush: done => stdout.write('', () => done()),
  }
}

/**
 * Formats lines in this process and in the same turn, unlike pino's transports, so no line is lost at exit. pino-pretty
 * is loaded only here: a service that logs JSON does not need it.
 */
function prettySink(sink: Sink): Sink {
  const { prettyFactory } = createRequire(import.meta.url)('pino-pretty') as typeof import('pino-pretty')
  const prettify = prettyFactory({
    ignore: 'event',
    translateTime: 'SYS:HH:MM:ss.l',
    messageFormat: '{event} {msg}',
    singleLine: true,
  })
  // A second backslash before them: they are told and not done.
  const told = (line: string) => line.replace(MOVES, (_all, before, what) => `${before}\\\\${what}`)
  return { ...sink, write: line => sink.write(harmless(prettify(told(line)))) }
}
