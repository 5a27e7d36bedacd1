/** Data from the kernel: cores, the machine, CPU time and memory of a process. */
import { execFileSync, spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg, release, totalmem, type } from 'node:os'

const hasTaskset = spawnSync('taskset', ['-V']).status === 0

/** Server and generator get one core each if the machine has two cores and `taskset`. */
export const isPinned = hasTaskset && availableParallelism() > 1
let serverCores = '0'
const GENERATOR_CORE = '1'

/** @param cores list for taskset, such as '0,1' */
export function useServerCores(cores: string): void {
  serverCores = cores
}

/** The command line that runs `argv` on the server's cores. */
export const onServerCore = (argv: readonly string[]): string[] =>
  isPinned ? ['taskset', '-c', serverCores, ...argv] : [...argv]

/** Moves this process, the generator, to its core. */
export function pinGenerator(): void {
  if (isPinned) execFileSync('taskset', ['-a', '-p', '-c', GENERATOR_CORE, String(process.pid)])
}

export function describeMachine(): string {
  const gib = (totalmem() / 2 ** 30).toFixed(0)
  const cores = isPinned
    ? `server on core ${serverCores}, generator on core ${GENERATOR_CORE}`
    : 'server and generator share the cores'
  return `${cpus()[0]?.model ?? 'unknown CPU'} × ${cpus().length}, ${gib} GiB, ${type()} ${release()}, Node ${process.version}; ${cores}; load average ${loadavg()[0]?.toFixed(1)} before`
}

/** Process → thread → its CPU time in ns when it was last seen. */
const seen = new Map<number, Map<string, number>>()

/**
 * CPU seconds of a process with all its threads, including those that have ended since they were seen last. Source:
 * /proc/<pid>/task/<tid>/schedstat (Linux, Documentation/scheduler/sched-stats.rst), which counts nanoseconds. The ticks of
 * 10 ms in proc(5) stat are too coarse: at 500 messages a second a tick is worth the CPU time of 20 messages or more.
 */
export function cpuSeconds(pid: number): number {
  const threads = seen.get(pid) ?? new Map<string, number>()
  seen.set(pid, threads)
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const used = threadNanoseconds(pid, thread)
    if (used !== undefined) threads.set(thread, used)
  }
  let sum = 0
  for (const used of threads.values()) sum += used
  return sum / 1e9
}

/** CPU seconds of its main thread, which runs the event loop in Node.js. */
export const mainThreadSeconds = (pid: number): number => (threadNanoseconds(pid, String(pid)) ?? 0) / 1e9

/** @returns undefined if the thread has ended */
function threadNanoseconds(pid: number, thread: string): number | undefined {
  const text = readFile(`/proc/${pid}/task/${thread}/schedstat`)
  return text === undefined ? undefined : runNanoseconds(text)
}

/** The first field of schedstat: time on a CPU, ns. */
export const runNanoseconds = (schedstat: string): number => Number(schedstat.split(' ', 1)[0])

function readFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

/** Resident memory of a process without mapped files, such as the pages of a store, KiB. */
export function memoryKiB(pid: number): number {
  const [, kib] = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kib)
}

export const ownCpuSeconds = (): number => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}
