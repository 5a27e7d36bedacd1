import { EXIT_FAILURE } from './exit-codes.js'

/**
 * A command whose reader has gone (`mumi user list | head -1`) does its work to the end and says no more: without a listener a
 * broken pipe is an uncaught exception. What cannot be written for another reason, such as a full disk, is told, and is a failure.
 */
export function outliveReaders({ stdout, stderr }: NodeJS.Process): void {
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (isClosed(error)) return
    process.exitCode = EXIT_FAILURE
    stderr.write(`mumi: cannot write the output: ${error.message}\n`)
  })
  stderr.on('error', (error: NodeJS.ErrnoException) => {
    if (!isClosed(error)) process.exitCode = EXIT_FAILURE
  })
}

const isClosed = ({ code }: NodeJS.ErrnoException): boolean => code === 'EPIPE'
