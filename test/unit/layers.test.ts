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

// One tree for both: to look at a second one takes as long as all the rest.
t.test(
  'planted faults are found, and nothing in the files beside them whose imports go the right way',
  async t => {
    const found = await violations(t, {
      'main.ts': "import './gateway.js'; import './config.js'",
      'gateway.ts': `
      import './store/embedded/store.js'; import './ws/server.js'; import './config.js'
      import './inbox/stored.js'; import './ws/wrong.js'; import './errors.js'; import './stray.js'`,
      'config.ts': "import './config/schema.js'; import 'convict'",
      config: { 'schema.ts': 'export {}' },
      'log.ts': "import 'pino'",
      'model.ts': 'export type A = 1',
      'errors.ts': "import './config.js'",
      'stray.ts': "import './no-such-file.js'",
      store: {
        'store.ts': "import type { A } from '../model.js'; export type B = A",
        'copy.ts': 'export {}',
        embedded: {
          'store.ts': "import '../store.js'; import './rows.js'; import 'lmdb'",
          'rows.ts': "import './store.js'; import '../copy.js'",
        },
      },
      inbox: {
        'inbox.ts': "import '../store/store.js'; import '../log.js'",
        'stored.ts': "import type { B } from '../store/store.js'; import '../store/copy.js'; import 'lmdb'",
        'unused.ts': 'export {}',
      },
      ws: {
        'server.ts': "import '../inbox/inbox.js'; import 'ws'; import 'node:net'",
        'wrong.ts':
          "import '../store/store.js'; import process from 'node:process'; import 'typescript'; process.exit()",
      },
    })
    t.same(found, [
      'direction of src/(audit|errors|faults|log|log-repeats|login-log|metrics|model|node-version|private-files|recent|turn-end)\\.ts: src/errors.ts',
      'direction of src/gateway\\.ts: src/gateway.ts',
      'direction of src/inbox/: src/inbox/stored.ts',
      'direction of src/store/embedded/: src/store/embedded/rows.ts',
      'direction of src/ws/: src/ws/wrong.ts',
      'home of lmdb: src/inbox/stored.ts',
      'listed: src/stray.ts',
      'no-cycle: src/store/embedded/rows.ts',
      'no-dead-file: src/inbox/unused.ts',
      'package without a home: src/ws/wrong.ts',
      'process: src/ws/wrong.ts',
      'resolvable: src/stray.ts',
    ])
  },
)
