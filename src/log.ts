/** One JSON object a line on stdout: `time`, `level`, `event`, ids, sizes. Never content, passwords or tokens. */
import { isatty } from 'node:tty'
import { type DestinationStream, destination, type Logger, pino, stdTimeFunctions } from 'pino'
import { prettyFactory } from 'pino-pretty'

export type { Logger } from 'pino'

interface LogOptions {
  /** Lowest level that is written; 'silent' writes nothing. */
  readonly level: string
  readonly pretty: 'auto' | 'always' | 'never'
}

/** Last defence: these are not handed to a logger in the first place. */
const SECRET = ['password', 'passwordHash', 'token', 'authorization', 'content', 'fields', 'payload']

const STDOUT = 1

/** Bytes of lines that wait for a reader of stdout who takes nothing; beyond it lines are dropped. */
const MAX_WAITING_BYTES = 16 * 2 ** 20

/** @param sink takes the lines instead of stdout, for tests */
export function createLogger({ level, pretty }: LogOptions, sink: DestinationStream = stdout()): Logger {
  const isPretty = pretty === 'always' || (pretty === 'auto' && isatty(STDOUT))
  return pino(
    {
      level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) },
      // A level deeper would double the cost of every line.
      redact: SECRET.flatMap(name => [name, `*.${name}`]),
    },
    isPretty ? prettySink(sink) : sink,
  )
}

/** Written in the background, so that a reader who stalls does not stall the gateway; flushed when the process ends. */
function stdout(): DestinationStream {
  const stream = destination({ dest: STDOUT, sync: false, maxLength: MAX_WAITING_BYTES })
  // A full disk behind the log is no reason to stop serving: the line is lost, the next one is tried again.
  stream.on('error', () => undefined)
  return stream
}

/** In the same process and turn, unlike pino's transports: nothing is lost when the process ends. */
function prettySink(sink: DestinationStream): DestinationStream {
  const prettify = prettyFactory({
    ignore: 'event',
    translateTime: 'SYS:HH:MM:ss.l',
    messageFormat: '{event} {msg}',
    singleLine: true,
  })
  return { write: line => sink.write(prettify(line)) }
}
