import { execFile } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'

const inRepository = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url))
const RULES = inRepository('scripts/layers.cjs')
const DEPCRUISE = inRepository('node_modules/dependency-cruiser/bin/dependency-cruise.mjs')

const TSCONFIG = '{"compilerOptions": {"module": "NodeNext"}}'

type Folder = { readonly [name: string]: string | Folder }

interface Violation {
  readonly rule: { readonly name: string }
  readonly from: string
}

/** The rules that src/, scripts/ and test/ with these files break, each with the file that breaks it. */
const violations = (t: Test, folders: Folder): Promise<string[]> =>
  broke(t.testdir({ 'tsconfig.json': TSCONFIG, ...folders }), ['src', 'scripts', 'test'])

async function broke(cwd: string, folders = ['src']): Promise<string[]> {
  const args = [DEPCRUISE, '--config', RULES, '--output-type', 'json', ...folders]
  const output = await new Promise<string>((resolve, reject) => {
    // Its exit code is the number of violations.
    execFile(process.execPath, args, { cwd }, (error, stdout) =>
      stdout === '' ? reject(error) : resolve(stdout),
    )
  })
  const found: Violation[] = JSON.parse(output).summary.violations
  return found.map(({ rule, from }) => `${rule.name}: ${from}`).sort()
}

// One tree for both: to look at a second one takes as long as all the rest.
t.test('planted faults are found, and nothing in files with permitted imports', async t => {
  const found = await violations(t, {
    src: {
      'main.ts': "import './cli/signals.js'; import './cli/help.js'; await import('./cli/serve.js')",
      cli: {
        'signals.ts': "import '../core/model.js'",
        'help.ts': 'export {}',
        'serve.ts':
          "import process from 'node:process'; import '../app/gateway.js'; import '../config/config.js'; process.exit()",
      },
      'stray.ts': "import './no-such-file.js'",
      app: {
        'gateway.ts': `
          import '../store/embedded/store.js'; import '../json/server.js'; import '../config/config.js'
          import '../inbox/stored.js'; import '../json/wrong.js'; import '../core/errors.js'; import '../stray.js'
          import '../mqtt/broker.js'`,
      },
      config: { 'config.ts': "import './schema.js'; import 'convict'", 'schema.ts': 'export {}' },
      core: {
        'log.ts': "import 'pino'",
        'model.ts': 'export type A = 1',
        'errors.ts': "import '../config/config.js'",
      },
      store: {
        'store.ts': "import type { A } from '../core/model.js'; export type B = A",
        'copy.ts': 'export {}',
        embedded: {
          'store.ts': "import '../store.js'; import './rows.js'; import 'lmdb'",
          'rows.ts': "import './store.js'; import '../copy.js'",
        },
      },
      inbox: {
        'inbox.ts': "import '../store/store.js'; import '../core/log.js'",
        'stored.ts': "import type { B } from '../store/store.js'; import '../store/copy.js'; import 'lmdb'",
        'unused.ts': 'export {}',
      },
      mqtt: {
        'broker.ts':
          "import './wire/gate.js'; import './routing/router.js'; import '../store/store.js'; import 'qlobber'",
        wire: { 'gate.ts': "import '../acl/access.js'" },
        acl: { 'access.ts': "import '../../core/model.js'; import '../../inbox/inbox.js'" },
        routing: {
          'router.ts': "import '../acl/access.js'; import './persistence/kv.js'; import 'qlobber'",
          persistence: { 'kv.ts': "import '../../../store/store.js'; import '../../acl/access.js'" },
        },
      },
      json: {
        'server.ts': "import '../inbox/inbox.js'; import 'node:net'",
        'wrong.ts':
          "import '../store/store.js'; import process from 'node:process'; import 'typescript'; process.exit()",
      },
    },
    scripts: { 'a.ts': "import './b.js'", 'b.ts': "import './a.js'", 'c.ts': "import '../src/main.js'" },
    test: { unit: { 'a.ts': "import '../helpers/b.js'" }, helpers: { 'b.ts': "import '../unit/a.js'" } },
  })
  t.same(found, [
    'direction of src/app/: src/app/gateway.ts',
    'direction of src/core/: src/core/errors.ts',
    'direction of src/inbox/: src/inbox/stored.ts',
    'direction of src/json/: src/json/wrong.ts',
    'direction of src/mqtt/acl/: src/mqtt/acl/access.ts',
    'direction of src/mqtt/routing/persistence/: src/mqtt/routing/persistence/kv.ts',
    'direction of src/mqtt/wire/: src/mqtt/wire/gate.ts',
    'direction of src/store/embedded/: src/store/embedded/rows.ts',
    'home of lmdb: src/inbox/stored.ts',
    'home of qlobber: src/mqtt/broker.ts',
    'listed: src/stray.ts',
    'no-cycle: scripts/a.ts',
    'no-cycle: src/store/embedded/rows.ts',
    'no-cycle: test/helpers/b.ts',
    'no-dead-file: src/inbox/unused.ts',
    'package without a home: src/json/wrong.ts',
    'process: src/json/wrong.ts',
    'resolvable: src/stray.ts',
    'signals alone: src/cli/signals.ts',
    'signals first: src/main.ts',
  ])
})

t.test('every folder has its rule: only cli/ may import the composition root', async t => {
  const files = await readdir(inRepository('src'), { recursive: true })
  const rooms = [...new Set(files.filter(file => file.endsWith('.ts')).map(dirname))].filter(
    room => room !== '.' && !/^(app|cli)(\/|$)/.test(room),
  )
  const src = t.testdir({ 'tsconfig.json': TSCONFIG, src: { app: { 'root.ts': 'export {}' } } })
  writeFileSync(join(src, 'src/main.ts'), rooms.map(room => `import './${room}/wrong.js'`).join('\n'))
  for (const room of rooms) {
    const wrong = join(src, 'src', room, 'wrong.ts')
    mkdirSync(dirname(wrong), { recursive: true })
    writeFileSync(wrong, `import '${relative(dirname(wrong), join(src, 'src/app/root.js'))}'`)
  }
  const broken = await broke(src)
  for (const room of rooms)
    t.ok(
      broken.some(one => /^direction of /.test(one) && one.endsWith(`: src/${room}/wrong.ts`)),
      room,
    )
})

t.test('a file that imports more than twelve files of src/ is found, and none in src/app/', async t => {
  const imports = (count: number, from = '.') =>
    Array.from({ length: count }, (_, i) => `import type { A${i} } from '${from}/f${i}.js'`).join('\n')
  const cwd = t.testdir({
    src: {
      'most.ts': `import 'ws'; import 'node:net'; import './f0.js'\n${imports(12)}`,
      app: { 'root.ts': imports(30) },
      json: {
        'wide.ts': `${imports(12)}\nexport * from '../mqtt/x.js'`,
        'lazy.ts': `${imports(12, '..')}\nawait import('./f0.js')`,
      },
    },
  })
  const args = ['--import', inRepository('scripts/typescript.mjs'), inRepository('scripts/fan-out.ts')]
  const [code, told] = await new Promise<[number | undefined, string]>(resolve => {
    const child = execFile(process.execPath, args, { cwd }, (_error, _stdout, stderr) =>
      resolve([child.exitCode ?? undefined, stderr]),
    )
  })
  t.equal(code, 1)
  t.same(told.trim().split('\n').sort(), [
    'fan-out: src/json/lazy.ts imports 13 files, more than 12',
    'fan-out: src/json/wide.ts imports 13 files, more than 12',
  ])
})
