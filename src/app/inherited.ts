/** Listening sockets that systemd opened and gives to the process (sd_listen_fds(3)): while no process takes them, clients wait in them. */

/** Number of the first one. */
const FIRST_FD = 3

/** What systemd says in the environment. */
export type InheritedEnv = Readonly<
  Partial<Record<'LISTEN_PID' | 'LISTEN_FDS' | 'LISTEN_FDNAMES', string | undefined>>
>

/**
 * @param pid of this process: what was meant for another one is not used
 * @returns the file descriptors by their names (FileDescriptorName= of a socket unit)
 */
export function inheritedSockets(env: InheritedEnv, pid: number): ReadonlyMap<string, number> {
  if (env.LISTEN_PID !== String(pid)) return new Map()
  const names = env.LISTEN_FDNAMES?.split(':') ?? []
  const count = /^\d{1,3}$/.test(env.LISTEN_FDS ?? '') ? Number(env.LISTEN_FDS) : 0
  return new Map(Array.from({ length: count }, (_, i) => [names[i] ?? '', FIRST_FD + i]))
}
