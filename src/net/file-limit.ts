/** The limit on open files and sockets of this process, and a watch that tells when it is reached. */
import { close, open } from 'node:fs'
import { devNull } from 'node:os'

/** How often the watch tries to open a file, ms. */
const LOOK_EVERY_MS = 1000

/** @returns the limit (RLIMIT_NOFILE, which Node raises to the hard limit); undefined if there is none */
export function fileLimit(): number | undefined {
  known ??= readFileLimit()
  return known
}

/** Cached, since reading it takes 15 ms. */
let known: number | undefined

function readFileLimit(): number | undefined {
  const report = process.report as { excludeNetwork?: boolean; getReport(): object }
  // Otherwise the report would look up the names of all peers.
  report.excludeNetwork = true
  const { userLimits }: { userLimits?: { open_files?: { soft?: unknown } } } = report.getReport()
  const soft = Number(userLimits?.open_files?.soft)
  return Number.isFinite(soft) ? soft : undefined
}

/**
 * Detects that no file descriptor is left by opening a file each second. Node does not report it: libuv accepts a
 * connection that it has no descriptor for and closes it, so that it does not stay in the queue (uv__emfile_trick).
 * @param onOut called with the system's error, EMFILE or ENFILE, each time
 * @returns stops the watch
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
