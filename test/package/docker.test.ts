/** The Dockerfile without Docker: its COPY and RUN steps in folders that stand for its stages, and the result is run. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { parse } from 'yaml'
import { mumi } from '../helpers/program.js'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const run = promisify(execFile)
/** npm tells the scripts that it runs about the project that it runs them for. */
const CLEAN = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(npm|tap|_tap|node)_/i.test(name)),
)

t.setTimeout(480_000)

interface Step {
  readonly name: string
  readonly text: string
}

const steps = (file: string): Step[] =>
  readFileSync(join(ROOT, file), 'utf8')
    .split('\n')
    .filter(line => line !== '' && !line.startsWith('#'))
    .map(line => {
      const [, name = '', text = ''] = /^(\w+) (.*)$/.exec(line) ?? []
      return { name, text }
    })

const dir = mkdtempSync(join(tmpdir(), 'mumi-image-'))
t.teardown(() => rmSync(dir, { recursive: true, force: true }))

/** What the steps leave: the folder of the last stage, its environment, and its commands. */
interface Image {
  folder: string
  env: Record<string, string>
  command: string[]
  health: string[]
  user: string
}

/** `/x` in an image, in the folder that stands for it. */
const inside = (folder: string, path: string) => join(folder, path)

function copy(stages: ReadonlyMap<string, string>, workdir: string, text: string): void {
  const words = text.split(' ')
  const [, stage] = /^--from=(\w+)$/.exec(words[0] ?? '') ?? []
  if (stage !== undefined) words.shift()
  const target = words.pop() ?? ''
  for (const source of words) {
    const from = stage === undefined ? join(ROOT, source) : inside(stages.get(stage) ?? '', source)
    const to = join(workdir, target, target.endsWith('/') ? source : '')
    mkdirSync(dirname(to), { recursive: true })
    cpSync(from, to, { recursive: true })
  }
}

async function build(file: string): Promise<Image> {
  const stages = new Map<string, string>()
  const image: Image = { folder: '', env: {}, command: [], health: [], user: 'root' }
  let workdir = ''
  for (const { name, text } of steps(file)) {
    if (name === 'FROM') {
      const [, , stage = 'last'] = text.split(' ')
      image.folder = join(dir, stage)
      image.env = {}
      mkdirSync(image.folder)
      stages.set(stage, image.folder)
    } else if (name === 'WORKDIR') {
      workdir = inside(image.folder, text)
      mkdirSync(workdir, { recursive: true })
    } else if (name === 'COPY') copy(stages, workdir, text)
    else if (name === 'ENV') {
      for (const [key, value] of text.split(' ').map(pair => pair.split('=')))
        image.env[`${key}`] = `${value}`
    } else if (name === 'RUN') await step(image, workdir, text)
    else if (name === 'HEALTHCHECK') image.health = JSON.parse(text.slice(text.indexOf('CMD ') + 4))
    else if (name === 'CMD') image.command = JSON.parse(text)
    else if (name === 'USER') image.user = text
    else t.match(name, /^(EXPOSE|VOLUME)$/, 'a step that this test knows')
  }
  return { ...image, folder: workdir }
}

/** The one RUN that is not npm's makes the volume's folder: here it has no other user. */
async function step({ env, folder }: Image, workdir: string, text: string): Promise<void> {
  const volume = /^mkdir --mode=0700 (\S+) && chown node:node \1$/.exec(text)
  if (volume !== null) mkdirSync(inside(folder, volume[1] ?? ''), { mode: 0o700 })
  else {
    t.match(text, /^npm /)
    const command = text.replaceAll('npm ci', 'npm ci --prefer-offline --no-audit --no-fund')
    await run('sh', ['-c', command], { cwd: workdir, env: { ...CLEAN, ...env }, maxBuffer: 2 ** 26 })
  }
}

t.test('the image is built, starts as it is, and is healthy', async t => {
  const image = await build('config/Dockerfile')
  t.not(image.user, 'root')
  const settings = {
    // In a container these are its own; here they would be this machine's.
    MUMI_HTTP_HOST: '127.0.0.1',
    MUMI_MQTT_HOST: '127.0.0.1',
    MUMI_HTTP_PORT: '0',
    MUMI_MQTT_PORT: '0',
    MUMI_OPS_PORT: '0',
    MUMI_DATA_DIR: join(dir, 'last', image.env.MUMI_DATA_DIR ?? ''),
  }
  const env = { PATH: CLEAN.PATH ?? '', ...image.env, ...settings }
  const [program = '', ...args] = image.command
  const child = spawn(program, args, { cwd: image.folder, env, stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  const health = async (port: number) => {
    const [node = '', ...rest] = image.health
    const check = run(node, rest, { env: { ...env, MUMI_OPS_PORT: `${port}` } })
    return check.then(
      () => 0,
      error => error.code,
    )
  }
  const ops = await new Promise<number>((resolve, reject) => {
    createInterface(child.stdout).on('line', line => {
      const { event, ops } = JSON.parse(line)
      if (event === 'gateway.ready') resolve(ops.port)
    })
    child.on('exit', code => reject(new Error(`ended before it was ready: ${code}`)))
  })
  t.equal(await health(ops), 0)
  const gone = once(child, 'exit')
  child.kill('SIGTERM')
  t.same(await gone, [0, null])
  t.equal(await health(ops), 1, 'and it is unhealthy when it is gone')
})

t.test('the image gets from the clone what it copies, and nothing else', async t => {
  const copied = steps('config/Dockerfile')
    .filter(({ name, text }) => name === 'COPY' && !text.startsWith('--from'))
    .flatMap(({ text }) => text.split(' ').slice(0, -1))
  const sent = readFileSync(join(ROOT, 'config/Dockerfile.dockerignore'), 'utf8')
  const files = [...sent.matchAll(/^!(.+)$/gm)].map(([, file = '']) => file)
  t.match(sent, /^\*$/m)
  t.same([...new Set(copied)].sort(), files.sort())
})

t.test('the compose files: keys, ports, times and descriptors are those of the config', async t => {
  t.testdir()
  const [alone, beside] = ['config/compose.yaml', 'config/compose.mongodb.yaml'].map(file =>
    parse(readFileSync(join(ROOT, file), 'utf8')),
  )
  const { gateway } = alone.services
  t.same(beside.services.gateway.extends, { file: 'compose.yaml', service: 'gateway' })
  const { text = '' } = steps('config/Dockerfile').find(({ name }) => name === 'ENV') ?? {}
  const image = Object.fromEntries(text.split(' ').map(pair => pair.split('=')))
  for (const environment of [{}, beside.services.gateway.environment]) {
    const { code, stdout, stderr } = await mumi(t, ['config'], { ...image, ...environment }).ended
    t.equal(code, 0, stderr)
    const { http, mqtt, data, shutdown, limits, store } = JSON.parse(stdout)
    t.equal(store.type, 'MUMI_STORE_TYPE' in environment ? 'mongodb' : 'embedded')
    t.same(
      gateway.ports,
      [http.port, mqtt.port].map(port => `127.0.0.1:${port}:${port}`),
    )
    t.same(gateway.volumes, [`data:${data.dir}`])
    t.ok(gateway.ulimits.nofile >= limits.connections + 100)
    t.ok(Number(gateway.stop_grace_period.replace('s', '')) * 1000 > shutdown.timeout + shutdown.spread)
  }
  t.ok('data' in alone.volumes && 'data' in beside.volumes)
})
