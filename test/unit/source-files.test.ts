/** Every file of src/ that holds a rule has a unit test that imports it. */
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import t from 'tap'

const SRC = join(import.meta.dirname, '../../src')

/** A file without a value: there is nothing that a test could import. */
const TYPES = 'types alone'

/** Files without a unit test of their own, each with its reason. */
const EXCEPTIONS: Readonly<Record<string, string>> = {
  'main.ts': 'the program itself: test/process starts it',
  'handle/context.ts': TYPES,
  'handle/mail/index.ts': 'names what the files beside it export',
  'accounts/parts.ts': TYPES,
  'auth/identity.ts': TYPES,
  'handle/services.ts': TYPES,
  'core/tracing.ts': TYPES,
  'inbox/sink.ts': TYPES,
  'cli/operator/terminal.ts': TYPES,
  ...Object.fromEntries(
    ['import', 'inbox', 'invites', 'operation', 'sessions', 'tokens', 'users'].map(name => [
      `cli/operator/${name}.ts`,
      'commands alone: test/unit/operator.test.ts runs each of them by commands.ts',
    ]),
  ),
  'cli/operator/take-accounts.ts': 'test/process/import.test.ts runs it with a gateway and without one',
  'app/files.ts': 'makes the parts of files and decides nothing: test/wire/files.test.ts runs it',
  'files/quotas.ts': 'test/unit/files.test.ts runs it by files/files.ts',
  'cli/broken-text.ts': 'test/process/cli.test.ts gives it bytes that are no text',
  'cli/output.ts': 'test/process/cli.test.ts takes the reader of a command away',
  'app/supervisor.ts': 'test/process/supervisor.test.ts runs it with the real systemd-notify',
  'files/storage.ts': TYPES,
  'files/strays.ts': 'test/unit/files.test.ts runs it by files/files.ts',
  'files/thumbnails.ts': 'test/wire/files.test.ts asks for thumbnails',
  ...Object.fromEntries(
    ['answers', 'download', 'pace', 'route', 'upload'].map(name => [
      `files-http/${name}.ts`,
      'test/wire/files.test.ts runs it over real HTTP',
    ]),
  ),
  'files-http/exchange.ts': TYPES,
  'files-http/resumable.ts': 'test/wire/files-resumable.test.ts runs it over real HTTP',
  'files-http/tus.ts': 'test/wire/files-resumable.test.ts runs it over real HTTP',
  'rest/given.ts': TYPES,
  ...Object.fromEntries(
    ['api', 'caller', 'door', 'operation', 'quota', 'runner', 'unread'].map(name => [
      `rest/${name}.ts`,
      'test/wire/rest.test.ts and those beside it run it over real HTTP',
    ]),
  ),
  ...Object.fromEntries(
    ['accounts', 'files', 'logins', 'mail', 'messages', 'second-factor'].map(name => [
      `rest/routes/${name}.ts`,
      'test/wire/rest-flows.test.ts asks it, and test/wire/rest-document.test.ts walks it',
    ]),
  ),
  'rest/uploader.ts': 'test/wire/files-resumable.test.ts uploads with tokens, with bad ones and without',
  'handle/passkeys.ts': 'test/wire/passkeys.test.ts makes its requests',
  'auth/second-factor/rows.ts': 'test/unit/second-factors.test.ts runs it by second-factors.ts',
  'handle/files.ts': 'test/wire/files.test.ts makes its requests',
  'handle/messages.ts': 'names what the files beside it export',
  'json/host.ts': TYPES,
  'json/socket-owner.ts': TYPES,
  'mqtt/link.ts': TYPES,
  'mqtt/options.ts': TYPES,
  'mqtt/stored-will.ts': TYPES,
  'mqtt/connect-parts.ts': TYPES,
  'mqtt/identity.ts': TYPES,
  'mqtt/routing/delivery-rules.ts': TYPES,
  'mqtt/wire/transport-handler.ts': TYPES,
  'mqtt/routing/route.ts': TYPES,
  'mqtt/routing/persistence/options.ts': TYPES,
  'store/mongodb/documents.ts': TYPES,
  'mqtt/compose.ts': 'makes the parts of a broker and decides nothing: test/helpers/mqtt-parts.ts runs it',
  'store/embedded/parts.ts': 'makes the parts of a store and decides nothing: each store.open() runs it',
  'store/mongodb/parts.ts':
    'makes the parts of a store and decides nothing: the contract runs it, on a server',
}

/** Paths from which a file imports a value, not only types. */
function valuesFrom(text: string): string[] {
  const imports = text.matchAll(/^import\s+(?!type\b)([^'"]*?)\s*from\s*'([^']+)'/gm)
  const named = Array.from(imports, ([, names = '', path = '']) => ({ names, path }))
  const dynamic = Array.from(text.matchAll(/\bimport\('([^']+)'\)/g), ([, path = '']) => path)
  return [...named.filter(({ names }) => !areTypes(names)).map(({ path }) => path), ...dynamic]
}

function areTypes(names: string): boolean {
  const [, list = ''] = /^\{([^}]*)\}$/.exec(names.trim()) ?? []
  const all = list.split(',').flatMap(name => name.trim() || [])
  return all.length > 0 && all.every(name => name.startsWith('type '))
}

/** Whether a file exports something that is there when the program runs. */
const hasValues = (text: string): boolean => /^export (?!type\b|interface\b|declare\b)/m.test(text)

const filesOf = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(
    file => file.endsWith('.ts') && !file.endsWith('.d.ts'),
  )

const read = (file: string) => readFileSync(join(SRC, file), 'utf8')

/** Files of src/ of which a unit test imports a value. */
function tested(): Set<string> {
  const files = filesOf(import.meta.dirname).flatMap(test => {
    const path = join(import.meta.dirname, test)
    const from = (target: string) => relative(SRC, join(path, '..', target)).replace(/\.js$/, '.ts')
    return valuesFrom(readFileSync(path, 'utf8'))
      .filter(target => target.startsWith('.'))
      .map(from)
  })
  return new Set(files)
}

t.test('a type is no value, however it is imported', async t => {
  const text = `import type { A } from './a.js'
import { type B, type C } from './b.js'
import {
  type D,
  d,
} from './d.js'
import t, { type Test } from 'tap'
const { e } = await import('./e.js')`
  t.same(valuesFrom(text), ['./d.js', 'tap', './e.js'])
  t.notOk(hasValues("export type { A } from 'a'\nexport interface B {}\nexport type C = A"))
  for (const value of ['const a = 1', 'class A {}', 'async function a() {}', "{ a } from './a.js'"])
    t.ok(hasValues(`export ${value}`), value)
})

t.test('each file of src/ has a unit test that imports it, or is an exception', async t => {
  const has = tested()
  t.same(
    filesOf(SRC).filter(file => !has.has(file) && !(file in EXCEPTIONS)),
    [],
    'without a unit test',
  )
})

t.test('each exception is needed, and what has types alone has no value', async t => {
  const has = tested()
  const files = new Set(filesOf(SRC))
  for (const [file, reason] of Object.entries(EXCEPTIONS)) {
    t.ok(files.has(file), `${file} is there`)
    t.notOk(has.has(file), `${file} has a unit test now`)
    if (reason === TYPES && files.has(file)) t.notOk(hasValues(read(file)), `${file} has types alone`)
  }
})
