#!/usr/bin/env -S node --max-semi-space-size=32 --initial-old-space-size=64
/** The command `mumi`. The only place that reads the command line and environment or ends the process. */
import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { constants } from 'node:os'
import { resolve } from 'node:path'
import { nodeFault } from './cli/node-version.js'
import { type Config, ConfigError, type ConfigSources, loadConfig, printConfig } from './config/config.js'
import { configTable, defaultFile } from './config/docs.js'
import { listenFault } from './config/listen.js'
import { GatewayError } from './core/errors.js'
import { createLogger, type Logger } from './core/log.js'
import { exposedFiles, type Kept, PRIVATE_UMASK } from './core/private-files.js'

const HELP = `Usage: mumi <command> [--config FILE]... [--section.key VALUE]...

Commands:
  serve               run the gateway until SIGTERM or SIGINT
  config              print the effective config as JSON, secrets masked
  config --docs       print the table of all keys
  config --defaults   print a commented config file with all defaults
  check               say whether config and store are good, changing nothing; exit code 0 or 1
  copy --from TYPE --to TYPE
                      copy one store (embedded, mongodb) into another that is empty, and compare them;
                      no gateway may be running on either; started again, it goes on where it was
  keys rotate [--now] a new key signs tokens; with --now those that were signed before are void at once,
                      else they are good until they expire; the gateway of this store may not be running

Options:
  --config FILE       JSON or JSON5; may be repeated, later wins
  --section.key VALUE one config key, for example --http.port 9000
  -h, --help          this text
  -v, --version       the version

Environment: MUMI_SECTION_KEY, for example MUMI_HTTP_PORT=9000.
Order: defaults, files, environment, command line.
`

const EXIT_FAILURE = 1
/** As shells and getopt programs answer a command line that names no command. */
const EXIT_USAGE = 2

/** Each command loads what it needs: help, version and config are there at once, also where native modules do not load. */
async function run(name: string | undefined, sources: ConfigSources): Promise<void> {
  const asks = (...options: string[]) => [name, ...sources.argv].some(word => options.includes(word ?? ''))
  if (asks('-h', '--help')) return print(HELP)
  if (asks('-v', '--version')) return print(`${version()}\n`)
  switch (name) {
    case 'serve':
      return serve(sources)
    case 'config':
      return print(config(sources))
    case 'check':
      return check(sources)
    case 'copy':
      return copy(sources)
    case 'keys':
      return keys(sources)
    default:
      process.stderr.write(name === undefined ? HELP : `mumi: unknown command '${name}'; see mumi --help\n`)
      process.exitCode = EXIT_USAGE
  }
}

function print(text: string): void {
  process.stdout.write(text)
}

function version(): string {
  return JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')).version
}

function config(sources: ConfigSources): string {
  const document = sources.argv.find(word => word === '--docs' || word === '--defaults')
  if (document !== undefined && sources.argv.length > 1)
    throw new ConfigError([`${document}: only by itself`])
  if (document === '--docs') return configTable()
  if (document === '--defaults') return defaultFile()
  return `${printConfig(sources)}\n`
}

async function check(sources: ConfigSources): Promise<void> {
  const config = loadConfig(sources)
  const { checkStore } = await import('./app/stores.js')
  const { checkTls, fileLimitFault } = await import('./app/checks.js')
  checkTls(config)
  print(`config is good; ${await checkStore(config)}\n`)
  const warnings = exposedFiles(kept(config), false).map(
    ({ path, mode }) => `${path}: others may read it (mode ${mode}); serve takes that away where it may`,
  )
  for (const warning of [fileLimitFault(config) ?? [], warnings].flat())
    process.stderr.write(`mumi: warning: ${warning}\n`)
}

const kept = ({ store, data, audit }: Config): Kept => ({
  dataDir: store.type === 'embedded' ? data.dir : undefined,
  auditFile: audit.file,
})

const STORES = ['embedded', 'mongodb'] as const

async function copy({ argv, env }: ConfigSources): Promise<void> {
  const rest = [...argv]
  const take = (option: string) => {
    const at = rest.indexOf(option)
    const [, name] = at === -1 ? [] : rest.splice(at, 2)
    const store = STORES.find(one => one === name)
    if (store === undefined) throw new ConfigError([`${option}: must be one of ${STORES.join(', ')}`])
    return store
  }
  const ends = { from: take('--from'), to: take('--to') }
  if (ends.from === ends.to) throw new ConfigError(['--from, --to: must differ'])
  // Checked as it will be used.
  const config = loadConfig({ argv: [...rest, `--store.type=${ends.to}`], env })
  const { copyStores } = await import('./app/stores.js')
  await copyStores(config, ends, line => print(`${line}\n`))
  print('copied\n')
}

async function keys({ argv: [verb, ...rest], env }: ConfigSources): Promise<void> {
  if (verb !== 'rotate') throw new ConfigError(['keys: must be keys rotate; see mumi --help'])
  const argv = rest.filter(word => word !== '--now')
  const isNow = argv.length < rest.length
  const { rotateKeys } = await import('./app/keys.js')
  await rotateKeys(loadConfig({ argv, env }), isNow ? 'refuse' : 'verify')
  print(`a new key signs tokens; those before are ${isNow ? 'void' : 'good until they expire'}\n`)
}

/** Resolves when the gateway is ready, or failed to be; the process then ends by way of `Exit`. */
async function serve(sources: ConfigSources): Promise<void> {
  const config = loadConfig(sources)
  const { Gateway } = await import('./app/gateway.js')
  const log = createLogger(config.log)
  log.info(
    { event: 'gateway.starting', version: version(), pid: process.pid, dataDir: resolve(config.data.dir) },
    'starting',
  )
  for (const exposed of exposedFiles(kept(config), true))
    log.warn({ event: 'file.exposed', ...exposed }, 'others than this user could read it')
  const gateway = new Gateway(config, log)
  const starting = gateway.start()
  // Half a gateway is not closed: the other half would open behind it.
  const close = () => starting.catch(() => undefined).then(() => gateway.close())
  const exit = new Exit(close, config.shutdown.timeout, log)
  process.on('SIGTERM', signal => exit.onSignal(signal))
  process.on('SIGINT', signal => exit.onSignal(signal))
  // Also without TLS, where there is nothing to load again: what sends it to all it supervises means no end.
  process.on('SIGHUP', () => gateway.reload())
  let isReady = false
  // Rejections that nobody handles come here too: Node's default.
  process.on('uncaughtException', err => {
    // Half started, or half closed, there is nothing that would go on.
    if (isReady && !exit.isLeaving) return gateway.reportUncaught(err)
    log.fatal({ event: 'process.failed', err }, 'uncaught exception')
    exit.leave(EXIT_FAILURE)
  })
  try {
    const { http, mqtt, mqtts, metrics } = await starting
    if (exit.isLeaving) return
    const ports = { http: place(http), mqtt: place(mqtt), mqtts: place(mqtts), ops: place(metrics) }
    isReady = true
    log.info({ event: 'gateway.ready', ...ports }, 'ready')
  } catch (error) {
    process.stderr.write(explain(error, config))
    exit.leave(EXIT_FAILURE)
  }
}

const place = (address: AddressInfo | undefined) => address && { host: address.address, port: address.port }

/** The end of the process: everything closed, within a deadline. */
class Exit {
  readonly #close: () => Promise<void>
  readonly #timeoutMs: number
  readonly #log: Logger
  #first: { readonly signal: NodeJS.Signals; readonly at: number } | undefined
  #code: number | undefined

  constructor(close: () => Promise<void>, timeoutMs: number, log: Logger) {
    this.#close = close
    this.#timeoutMs = timeoutMs
    this.#log = log
  }

  get isLeaving(): boolean {
    return this.#code !== undefined
  }

  /** The first signal closes, a second one ends the process at once. */
  onSignal(signal: NodeJS.Signals): void {
    if (!this.isLeaving) {
      this.#first = { signal, at: performance.now() }
      this.#log.info({ event: 'gateway.closing', signal }, 'closing')
      this.leave(0)
    } else if (!this.#isEcho(signal)) {
      process.exit(128 + constants.signals[signal])
    }
  }

  /** Called again, it only makes the exit code worse. */
  leave(code: number): void {
    const wasLeaving = this.isLeaving
    this.#code = Math.max(code, this.#code ?? 0)
    if (wasLeaving) return
    setTimeout(() => {
      this.#log.error(
        { event: 'gateway.close-timed-out', timeoutMs: this.#timeoutMs },
        'did not close in time',
      )
      process.exit(EXIT_FAILURE)
    }, this.#timeoutMs)
    this.#close()
      .then(() => this.#log.info({ event: 'gateway.closed' }, 'closed'))
      .catch(err => {
        this.#log.error({ event: 'gateway.close-failed', err }, 'did not close cleanly')
        this.#code = EXIT_FAILURE
      })
      .finally(() => this.#log.flush(() => process.exit(this.#code)))
  }

  /** Under `npm start` Ctrl-C comes twice, half a millisecond apart: from the terminal, and passed on by npm. */
  #isEcho(signal: NodeJS.Signals): boolean {
    return signal === this.#first?.signal && performance.now() - this.#first.at < 50
  }
}

/** What stderr says about an error: a line where the operator can act on it, the stack where the fault is ours. */
function explain(error: unknown, config?: Config): string {
  if (error instanceof ConfigError) return error.faults.map(fault => `mumi: ${fault}\n`).join('')
  if (!(error instanceof Error)) return `mumi: ${String(error)}\n`
  const fault = config && listenFault(error, config)
  if (fault !== undefined) return `mumi: ${fault}\n`
  const { syscall }: NodeJS.ErrnoException = error
  const isExpected = error instanceof GatewayError || syscall !== undefined
  return `mumi: ${isExpected ? error.message : error.stack}\n`
}

const [command, ...argv] = process.argv.slice(2)

// Whatever is made, by whichever command, is for this user only.
process.umask(PRIVATE_UMASK)
// Node's own answer opens its inspector, which runs whatever code it is sent.
process.on('SIGUSR1', () => undefined)

const tooOld = nodeFault(process.versions.node)
if (tooOld !== undefined) {
  process.stderr.write(`mumi: ${tooOld}\n`)
  process.exit(EXIT_FAILURE)
}

try {
  await run(command, { argv, env: process.env })
} catch (error) {
  process.stderr.write(explain(error))
  process.exitCode = EXIT_FAILURE
}
