/** Waits for the end of another process. */
import { setTimeout as delay } from 'node:timers/promises'
import { CommandError } from './ask.js'

const LOOK_MS = 100

/** @throws CommandError if it runs after so many seconds */
export async function ended(pid: number, seconds: number): Promise<void> {
  const until = performance.now() + seconds * 1000
  while (isRunning(pid)) {
    if (performance.now() >= until) throw new CommandError(`it runs after ${seconds} s (process ${pid})`)
    await delay(LOOK_MS)
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (thrown) {
    // EPERM: it is another user's.
    return (thrown as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}
