/** Runs a program of scripts/ as a process until it ends. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { plainNode } from './plain-node.js'

/** Module for `node --import` that runs TypeScript. */
export const TYPESCRIPT = new URL('../../scripts/typescript.mjs', import.meta.url).href

export interface ScriptEnd {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs without this process's environment, which has settings of the tests and their runner. @param path below scripts/ */
export async function runScript(t: Test, path: string, args: readonly string[]): Promise<ScriptEnd> {
  const { PATH = '', TMPDIR = '' } = process.env
  const env = { PATH, ...(TMPDIR && { TMPDIR }) }
  const main = fileURLToPath(new URL(`../../scripts/${path}`, import.meta.url))
  const child = spawn(...plainNode(['--import', TYPESCRIPT, main, ...args]), { env })
  t.teardown(() => child.kill('SIGTERM'))
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ])
  return { code, stdout, stderr }
}

/** Options for nine seconds with a few kills, plus the time for all clients to reconnect. */
const SHORT = ['--minutes', '0.15', '--users', '4', '--rate', '1000', '--kills-per-minute', '20']

/** Runs a short torture. */
export async function torture(t: Test, args: readonly string[]) {
  const { code, stdout, stderr } = await runScript(t, 'torture/main.ts', [...SHORT, ...args])
  if (code !== 0) t.comment(stderr)
  return { code, stdout, last: stdout.trimEnd().split('\n').at(-1) ?? '' }
}
