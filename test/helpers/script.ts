/** A program of scripts/ as a process of its own, to its end. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'

const LOADER = import.meta.resolve('tsx')

export interface ScriptEnd {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Without this process's environment, which has settings of the tests and of their runner. @param path below scripts/ */
export async function runScript(t: Test, path: string, args: readonly string[]): Promise<ScriptEnd> {
  const { PATH = '', TMPDIR = '' } = process.env
  const env = { PATH, ...(TMPDIR && { TMPDIR }) }
  const main = fileURLToPath(new URL(`../../scripts/${path}`, import.meta.url))
  const child = spawn(process.execPath, ['--import', LOADER, main, ...args], { env })
  t.teardown(() => child.kill('SIGTERM'))
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ])
  return { code, stdout, stderr }
}
