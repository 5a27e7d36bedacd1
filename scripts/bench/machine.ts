/** Data from the kernel: cores, the machine, CPU time and memory of a process. */
import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { availableParallelism, cpus, release, totalmem, type } from 'node:os'

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
  return `${cpus()[0]?.model ?? 'unknown CPU'} × ${cpus().length}, ${gib} GiB, ${type()} ${release()}, Node ${process.version}; ${cores}`
}

/** Clock ticks a second in /proc (sysconf(_SC_CLK_TCK) is 100 on every Linux). */
const TICKS = 100

/** CPU seconds of a process with all its threads. */
export const cpuSeconds = (pid: number): number => usedSeconds(`/proc/${pid}/stat`)

/** CPU seconds of its main thread, which runs the event loop in Node.js. */
export const mainThreadSeconds = (pid: number): number => usedSeconds(`/proc/${pid}/task/${pid}/stat`)

/** Source: proc(5), fields 14 and 15 of stat. */
function usedSeconds(stat: string): number {
  // Split after the command name, which may contain spaces; the state is then field 3.
  const fields = readFileSync(stat, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / TICKS
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
