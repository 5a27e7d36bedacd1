import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'

const inRepository = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url))
const RULES = inRepository('scripts/layers.cjs')
const DEPCRUISE = inRepository('node_modules/dependency-cruiser/bin/dependency-cruise.mjs')

type Folder = { readonly [name: string]: string | Folder }

interface Violation {
  readonly rule: { readonly name: string }
  readonly from: string
}

/** The rules that a src/ with these files breaks, each with the file that breaks it. */
async function violations(t: Test, src: Folder): Promise<string[]> {
  const cwd = t.testdir({ 'tsconfig.json': '{"compilerOptions": {"module": "NodeNext"}}', src })
  const args = [DEPCRUISE, '--config', RULES, '--output-type', 'json', 'src']
  const output = await new Promise<string>((resolve, reject) => {
    // Its exit code is the number of violations.
    execFile(process.execPath, args, { cwd }, (error, stdout) =>
      stdout === '' ? reject(error) : resolve(stdout),
    )
  })
  const found: Violation[] = JSON.parse(output).summary.violations
  return found.map(({ rule, from }) => `${rule.name}: ${from}`).sort()
}

t.test('imports that go the right way pass', async t => {
  const found = await violations(t, {
    'main.ts': "import './gateway.js'; import './config.js'",
    'gateway.ts': "import './store/embedded/store.js'; import './ws/server.js'; import './config.js'",
    'config.ts': "import './config/schema.js'; import 'convict'",
    config: { 'schema.ts': 'export {}' },
    'log.ts': "import 'pino'",
    'model.ts': 'export type A = 1',
    store: {
      'store.ts': "import type { A } from '../model.js'; export type B = A",
      embedded: { 'store.ts': "import '../store.js'; import 'lmdb'" },
    },
    inbox: { 'inbox.ts': "import '../store/store.js'; import '../log.js'" },
    ws: { 'server.ts': "import '../inbox/inbox.js'; import 'ws'; import 'node:net'" },
  })
  t.same(found, [])
})

t.test('planted faults are found', async t => {
  const found = await violations(t, {
    'main.ts': "import './gateway.js'",
    'gateway.ts':
      "import './inbox/inbox.js'; import './ws/server.js'; import './store/embedded/store.js'; import './errors.js'; import './stray.js'",
    'errors.ts': "import './config.js'",
    'config.ts': 'export {}',
    'stray.ts': "import './no-such-file.js'",
    store: {
      'store.ts': "import './embedded/store.js'",
      embedded: { 'store.ts': "import '../store.js'; import '../copy.js'" },
      'copy.ts': 'export {}',
    },
    inbox: {
      'inbox.ts': "import type { A } from '../store/embedded/store.js'; import 'lmdb'; export type B = A",
      'unused.ts': 'export {}',
    },
    ws: {
      'server.ts':
        "import '../store/store.js'; import process from 'node:process'; import 'typescript'; process.exit()",
    },
  })
  t.same(found, [
    'direction of src/(audit|errors|faults|log|log-repeats|login-log|metrics|model|node-version|private-files|turn-end)\\.ts: src/errors.ts',
    'direction of src/gateway\\.ts: src/gateway.ts',
    'direction of src/inbox/: src/inbox/inbox.ts',
    'direction of src/store/embedded/: src/store/embedded/store.ts',
    'direction of src/ws/: src/ws/server.ts',
    'home of lmdb: src/inbox/inbox.ts',
    'listed: src/stray.ts',
    'no-cycle: src/store/embedded/store.ts',
    'no-dead-file: src/inbox/unused.ts',
    'package without a home: src/ws/server.ts',
    'process: src/ws/server.ts',
    'resolvable: src/stray.ts',
  ])
})
