/** How many files and sockets this process may have open, and whether it has. */
import { close, open } from 'node:fs'
import { devNull } from 'node:os'

/** How often it is looked at, ms. */
const LOOK_EVERY_MS = 1000

/** @returns the limit (RLIMIT_NOFILE, which Node has raised as far as it may); undefined where there is none */
export function fileLimit(): number | undefined {
  known ??= readFileLimit()
  return known
}

/** What it was at the start of the process; it takes 15 ms to be read. */
let known: number | undefined

function readFileLimit(): number | undefined {
  const report = process.report as { excludeNetwork?: boolean; getReport(): object }
  // Without the names of the sockets' other ends, which it would look up.
  report.excludeNetwork = true
  const { userLimits }: { userLimits?: { open_files?: { soft?: unknown } } } = report.getReport()
  const soft = Number(userLimits?.open_files?.soft)
  return Number.isFinite(soft) ? soft : undefined
}

/**
 * Tells when there is no descriptor left, by asking for one each second. Node does not tell: libuv accepts what cannot
 * be served and closes it, so that it does not wait (uv__emfile_trick).
 * @param onOut the system's error, EMFILE or ENFILE
 * @returns what ends it
 */
export function watchFiles(onOut: (error: NodeJS.ErrnoException) => void): () => void {
  const look = () =>
    open(devNull, 'r', (error, file) => {
      if (error === null) close(file)
      else if (error.code === 'EMFILE' || error.code === 'ENFILE') onOut(error)
    })
  const timer = setInterval(look, LOOK_EVERY_MS).unref()
  return () => clearInterval(timer)
}
