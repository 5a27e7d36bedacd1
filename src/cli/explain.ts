import { type Config, ConfigError } from '../config/config.js'
import { listenFault } from '../config/listen.js'
import { GatewayError } from '../core/errors.js'
import { EXIT_FAILURE } from './exit-codes.js'
import { safeLines } from './operator/print.js'

/** The text for stderr: one line for an error that the operator can act on, the stack for a bug. */
export function explain(error: unknown, config?: Config): string {
  if (error instanceof ConfigError) return error.faults.map(fault => `mumi: ${fault}\n`).join('')
  if (!(error instanceof Error)) return `mumi: ${safeLines(String(error))}\n`
  const fault = config && listenFault(error, config)
  if (fault !== undefined) return `mumi: ${fault}\n`
  const { syscall }: NodeJS.ErrnoException = error
  const isExpected = error instanceof GatewayError || syscall !== undefined
  return `mumi: ${safeLines(String(isExpected ? error.message : error.stack))}\n`
}

/** Prints the error of a command and sets the exit code. The process ends when nothing is open any more. */
export function fail(error: unknown): void {
  process.stderr.write(explain(error))
  process.exitCode = EXIT_FAILURE
}
