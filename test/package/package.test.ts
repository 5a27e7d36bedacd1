/** The npm package: packed, installed into an empty folder, and run. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
/** npm tells the scripts that it runs about the project that it runs them for. */
const ENV = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(npm|tap|_tap|node)_/i.test(name)),
)

const run = promisify(execFile)

t.setTimeout(300_000)

async function npm(cwd: string, ...args: string[]): Promise<string> {
  const options = { cwd, env: ENV, maxBuffer: 2 ** 26, shell: process.platform === 'win32' }
  return (await run('npm', args, options)).stdout
}

interface Installed {
  readonly version?: string
  readonly dependencies?: Readonly<Record<string, Installed>>
}

/** Versions of a package, wherever in the tree. */
const versions = (name: string, { dependencies = {} }: Installed): string[] =>
  Object.entries(dependencies).flatMap(([one, installed]) => [
    ...(one === name && installed.version !== undefined ? [installed.version] : []),
    ...versions(name, installed),
  ])

const dir = mkdtempSync(join(tmpdir(), 'mumi-package-'))
t.teardown(() => rmSync(dir, { recursive: true, force: true }))

const MUMI = join(dir, 'node_modules', '.bin', 'mumi')

t.before(async () => {
  const [{ filename }] = JSON.parse(
    await npm(ROOT, 'pack', '--json', '--ignore-scripts', '--pack-destination', dir),
  )
  writeFileSync(join(dir, 'package.json'), '{"private":true}')
  await npm(dir, 'install', '--prefer-offline', '--no-audit', '--no-fund', join(dir, filename))
})

t.test(
  'ws in the tree is that of package.json or newer, wherever it is: older ones have known faults',
  async t => {
    const found = versions('ws', JSON.parse(await npm(dir, 'ls', 'ws', '--all', '--json')))
    t.ok(found.length > 0)
    const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
    const wanted: string = dependencies.ws.replace('^', '')
    t.same(
      found.filter(version => version.localeCompare(wanted, 'en', { numeric: true }) < 0),
      [],
    )
  },
)

t.test('the program runs and answers', async t => {
  const { http, stop } = await serve(t)
  t.equal((await fetch(`http://127.0.0.1:${http}/readyz`)).status, 200)
  const ws = new WebSocket(`ws://127.0.0.1:${http}/`)
  const [greeting] = await once(ws, 'message')
  t.match(String(greeting), /^\{"key":"[0-9A-F]{64}"\}$/)
  ws.terminate()
  const server = ['--server', `127.0.0.1:${http}`]
  const chat = run(MUMI, ['chat', ...server, 'ann@example.com'], { cwd: dir, env: ENV })
  chat.child.stdin?.end('secret\n')
  t.match((await chat).stdout, /you are logged in; your id is \d{9}/)
  t.match((await run(MUMI, ['chat', ...server, '--id', 'ann@example.com'])).stdout, /^\d{9}\n$/)
  t.equal(await stop(), 0)
})

async function serve(t: Test): Promise<{ http: number; stop: () => Promise<number | null> }> {
  const args = ['serve', '--data.dir', join(dir, 'data'), '--http.port', '0', '--mqtt.port', '0']
  const child = spawn(MUMI, args, { cwd: dir, env: ENV, stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  const exit = once(child, 'exit')
  for await (const line of createInterface(child.stdout)) {
    const { event, http } = JSON.parse(line)
    if (event !== 'gateway.ready') continue
    child.stdout.resume()
    const stop = async () => {
      child.kill('SIGTERM')
      return (await exit)[0]
    }
    return { http: http.port, stop }
  }
  throw new Error('ended before it was ready')
}
