/** Builds another commit of this repository in a temporary folder, to compare two builds. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

export interface OtherBuild {
  /** Its dist/main.js. */
  readonly main: string
  remove(): void
}

/** @param ref commit, branch or tag @throws if it cannot be built */
export function buildOf(ref: string): OtherBuild {
  const dir = mkdtempSync(join(tmpdir(), 'mumi-build-'))
  const run = (cwd: string, command: string, ...args: string[]) =>
    execFileSync(command, args, { cwd, stdio: ['ignore', 2, 2] })
  const remove = () => {
    run(ROOT, 'git', 'worktree', 'remove', '--force', dir)
    rmSync(dir, { recursive: true, force: true })
  }
  run(ROOT, 'git', 'worktree', 'add', '--detach', dir, ref)
  try {
    const lock = (root: string) => readFileSync(join(root, 'package-lock.json'), 'utf8')
    if (lock(dir) === lock(ROOT)) symlinkSync(join(ROOT, 'node_modules'), join(dir, 'node_modules'))
    else run(dir, 'npm', 'ci', '--include=dev')
    run(dir, 'npm', 'run', 'build')
  } catch (error) {
    remove()
    throw error
  }
  return { main: join(dir, 'dist', 'main.js'), remove }
}
