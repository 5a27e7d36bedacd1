import type { AddressInfo } from 'node:net'
import { resolve } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { type ConfigSources, configFiles, loadConfig } from '../config/config.js'
import { createLogger, isPretty } from '../core/log.js'
import { LogFile } from '../core/log-file.js'
import { writableFault } from '../core/private-files.js'
import { version } from '../core/version.js'
import { Exit } from './exit.js'
import { EXIT_FAILURE } from './exit-codes.js'
import { explain } from './explain.js'
import { answerSignals } from './signals.js'
import { status, welcome } from './welcome.js'

/** Resolves when the gateway is ready or its start has failed; in the latter case `Exit` ends the process. */
export async function serve(sources: ConfigSources): Promise<void> {
  const warnings: string[] = []
  const config = loadConfig({ ...sources, warn: line => warnings.push(line) })
  const [{ startGateway, inheritedSockets, Supervisor }, { exposedBy, prepareLineFiles, risks }] =
    await Promise.all([import('./start.js'), import('../app/checks.js')])
  // Node may load modules without a turn of the event loop, in which signals arrive. This turn handles those that came.
  await setImmediate()
  prepareLineFiles(config)
  const logFile = config.log.file === '' ? undefined : new LogFile(config.log.file)
  const log = createLogger(config.log, logFile)
  const dataDir = resolve(config.data.dir)
  log.info({ event: 'gateway.starting', version: version(), pid: process.pid, dataDir }, 'starting')
  for (const warning of warnings) log.warn({ event: 'config.ignored' }, warning)
  for (const exposed of exposedBy(config, true))
    log.warn({ event: 'file.exposed', ...exposed }, 'others than this user could read it')
  for (const risk of risks(config, configFiles(sources))) log.warn({ event: 'config.risk' }, risk)
  const fault = writableFault(dataDir)
  if (fault !== undefined) log.warn({ event: 'data.writable' }, fault)
  const supervisor = new Supervisor(process.env, process.pid, log)
  // Not for the processes that this one starts.
  for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete process.env[name]
  supervisor.starting('starting')
  const { gateway, starting } = startGateway(config, log, {
    load: () => loadConfig({ ...sources, isRunning: true }),
    leave: () => exit.leave(0),
    sockets: inheritedSockets(process.env, process.pid),
    onBackUp: file => supervisor.starting(file === undefined ? 'starting' : `making a backup, ${file}`),
    onReload: done => void supervisor.reloading(done),
  })
  const tellEnd = () => supervisor.stopping(gateway.drainMs + config.shutdown.timeout)
  // Closing waits for the start: a part that opens after the close would stay open.
  const close = () => {
    tellEnd()
    return starting.catch(() => undefined).then(() => gateway.close())
  }
  let isReady = false
  const exit = new Exit(close, config.shutdown.timeout, log, {
    run: async () => {
      tellEnd()
      if (isReady) await gateway.drain()
    },
    hurry: () => gateway.hurry(),
  })
  // There was no turn since `setImmediate`, so no signal is missed. A SIGHUP before the certificate is read has no
  // effect.
  answerSignals({
    end: signal => exit.onSignal(signal),
    reload: () => {
      const err = logFile?.reopen()
      if (err !== undefined) log.error({ event: 'log.failed', err }, 'log file not opened anew')
      gateway.reload()
    },
  })
  // By Node's default, unhandled rejections come here too.
  process.on('uncaughtException', err => {
    // During the start or the shutdown the process ends.
    if (isReady && !exit.isLeaving) return gateway.reportUncaught(err)
    log.fatal({ event: 'process.failed', err }, 'uncaught exception')
    exit.leave(EXIT_FAILURE)
  })
  try {
    const { http, mqtt, mqtts, metrics, admin } = await starting
    if (exit.isLeaving) return
    const ports = { http: place(http), mqtt: place(mqtt), mqtts: place(mqtts), ops: place(metrics) }
    isReady = true
    log.info({ event: 'gateway.ready', ...ports, admin: place(admin) }, 'ready')
    const shown = { ...ports, dataDir, hasTls: config.tls.cert !== '' && config.http.tls }
    supervisor.ready(status(shown))
    if (isPretty(config.log.pretty)) process.stdout.write(welcome(shown))
  } catch (error) {
    process.stderr.write(explain(error, config))
    exit.leave(EXIT_FAILURE)
  }
}

const place = (address: AddressInfo | undefined) => address && { host: address.address, port: address.port }
