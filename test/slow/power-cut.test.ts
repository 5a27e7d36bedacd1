/**
 * Power cuts at any moment, on the embedded store. A child process writes and is killed; of each moment images of the disk
 * are made in which every page is as it was when the last sync began or at any later moment, and a store opens them.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { bootId } from '../../src/store/embedded/boot-id.js'
import type { RunSettings, VerifySettings } from '../helpers/power-child.js'
import { TYPESCRIPT } from '../helpers/script.js'

t.setTimeout(240_000)
if (bootId() === 0n) {
  t.pass('the system does not tell when it was started, so LMDB syncs by itself')
  process.exit()
}

const CHILD = fileURLToPath(new URL('../helpers/power-child.ts', import.meta.url))

async function child(t: Test, task: string, settings: RunSettings | VerifySettings) {
  // On pages that do not belong together LMDB may run for ever.
  const bound = { timeout: 60_000, killSignal: 'SIGKILL' } as const
  const process_ = spawn(
    process.execPath,
    ['--import', TYPESCRIPT, CHILD, task, JSON.stringify(settings)],
    bound,
  )
  t.teardown(() => process_.kill('SIGKILL'))
  const [stdout, stderr, [code, signal]] = await Promise.all([
    text(process_.stdout),
    text(process_.stderr),
    once(process_, 'close'),
  ])
  return {
    lines: stdout.split('\n').flatMap(line => (line === '' ? [] : JSON.parse(line))),
    stderr,
    code,
    signal,
  }
}

/** Writes, cuts and is killed. @returns the folders of the images */
async function run(t: Test, settings: Omit<RunSettings, 'images'>): Promise<string[]> {
  const images = `${settings.dir}-${settings.seed}`
  const { stderr, signal } = await child(t, 'run', { ...settings, images })
  if (signal !== 'SIGKILL') t.fail('the store fails while it is written', { stderr })
  return readdirSync(images).map(name => join(images, name))
}

/** @returns what is wrong with the images, one text each */
async function faultsOf(
  t: Test,
  dirs: readonly string[],
  fault?: VerifySettings['fault'],
): Promise<string[]> {
  const { lines, code, signal } = await child(t, 'verify', { dirs, fault })
  const wrong = lines.flatMap(line => (line.wrong === undefined ? [] : [`${line.dir}: ${line.wrong}`]))
  if (code === 0) return wrong
  const last = lines.findLastIndex(line => line.begin !== undefined)
  const died = `${lines[last]?.begin}: the process died: ${signal ?? code}`
  const rest = dirs.slice(dirs.indexOf(lines[last]?.begin) + 1)
  return [...wrong, died, ...(rest.length === 0 ? [] : await faultsOf(t, rest, fault))]
}

for (const durability of ['commit', 'flush'] as const) {
  t.test(`${durability}: after every power cut the store is whole and has what it promised`, async t => {
    const root = t.testdir()
    const dir = join(root, 'store')
    const all: string[] = []
    for (const seed of ['new', 'killed', 'killed twice'])
      all.push(...(await run(t, { dir, durability, seed, count: 16 })))
    // Power cut, start, kill -9, power cut.
    const after = join(root, 'after')
    cpSync(all.at(-1) ?? '', after, { recursive: true })
    for (const seed of ['cut', 'cut and killed'])
      all.push(...(await run(t, { dir: after, durability, seed, count: 10 })))
    t.equal(all.length, 68)
    t.same(await faultsOf(t, all), [])
    rmSync(root, { recursive: true })
  })
}

/**
 * Makes images until one of them is wrong. Some faults show in one of twenty only, for it is chance which pages a cut leaves
 * behind: then others are made, from another seed.
 */
async function findsFault(
  t: Test,
  seed: string,
  fault: { readonly run?: RunSettings['fault']; readonly verify?: VerifySettings['fault'] },
) {
  for (let round = 1; round <= 10; round++) {
    const dir = join(t.testdir({}), `${round}`)
    const settings = {
      dir,
      durability: 'commit',
      seed: `${seed} ${round}`,
      count: 20,
      fault: fault.run,
    } as const
    const all = await run(t, settings)
    const wrong = await faultsOf(t, all, fault.verify)
    t.comment(`round ${round}: ${wrong.length} of ${all.length}`)
    if (wrong.length > 0) return t.pass(`found in round ${round}`)
  }
  t.fail('not found')
}

for (const fault of ['no pin', 'no sync'] as const)
  t.test(`a store with the fault "${fault}" is found`, t => findsFault(t, fault, { run: fault }))

t.test('without checksums in the journal the images are not whole', t =>
  findsFault(t, 'torn', { run: 'no checksum', verify: 'no checksum' }),
)

t.test('without the way back to the noted snapshot the images are not whole', t =>
  findsFault(t, 'no restore', { verify: 'no restore' }),
)
