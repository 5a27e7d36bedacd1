/** Which way imports may point in src/, for dependency-cruiser. `npm test` checks it. */

/** Any file may import these; they import only each other. */
const BASE =
  'src/(audit|errors|faults|log|log-repeats|login-log|metrics|model|node-version|private-files|recent|turn-end)\\.ts'

/** Folder or file → what it may import in src/ besides itself and BASE. */
const MAY_IMPORT = {
  [BASE]: [],
  'src/config(\\.ts|/)': [],
  'src/store/': [],
  'src/store/embedded/': ['src/store/(contents|deleted|store)\\.ts'],
  'src/store/mongodb/': ['src/store/(contents|deleted|store)\\.ts'],
  'src/request/': [],
  'src/limits/': [],
  'src/net/': [],
  'src/http/': [],
  'src/accounts/': ['src/store/store\\.ts'],
  'src/inbox/': ['src/store/store\\.ts'],
  'src/handle/': ['src/store/store\\.ts', 'src/(accounts|inbox|limits|request)/'],
  'src/broker/': [
    'src/store/store\\.ts',
    'src/accounts/(accounts|identity|live|rights)\\.ts',
    'src/(inbox|limits|request|handle)/',
  ],
  'src/broker/persistence/': ['src/store/store\\.ts'],
  'src/ws/': ['src/accounts/(identity|live|rights)\\.ts', 'src/(inbox|limits|request|handle)/'],
  'src/stores\\.ts': ['src/config\\.ts', 'src/store/'],
  'src/front\\.ts': ['src/config\\.ts', 'src/(http|net|limits|handle|broker|ws)/'],
  'src/gateway\\.ts': [
    'src/(config|front|stores)\\.ts',
    'src/(store|request|http|net|limits|accounts|inbox|handle|broker|ws)/',
  ],
  'src/main\\.ts': ['src/config(\\.ts|/)', 'src/(gateway|stores)\\.ts'],
}

/** Package → the one place that imports it. A package that is not listed may be imported nowhere. */
const HOMES = {
  '@sinclair/typebox': 'src/request/',
  '(aedes|aedes-packet|aedes-persistence|mqemitter|mqtt-packet|qlobber)': 'src/broker/',
  '(@zxcvbn-ts/language-common|bcrypt|jose|piscina|validator)': 'src/accounts/',
  'lru-cache': 'src/recent\\.ts',
  'ipaddr\\.js': 'src/limits/',
  '(convict|json5)': 'src/config(\\.ts|/)',
  lmdb: 'src/store/embedded/',
  mongodb: 'src/store/mongodb/',
  '(pino|pino-pretty)': 'src/(audit|log)\\.ts',
  'prom-client': 'src/metrics\\.ts',
  uuid: 'src/handle/',
  ws: 'src/(ws|broker)/',
}

const error = (name, comment, from, to) => ({ name, comment, severity: 'error', from, to })
const inPackage = name => `node_modules/(@types/)?${name}/`

module.exports = {
  forbidden: [
    error('no-cycle', 'Imports go one way.', {}, { circular: true }),
    error(
      'no-dead-file',
      'main.ts does not reach it.',
      { path: '^src/main\\.ts$' },
      { path: '^src/.*(?<!\\.d)\\.ts$', reachable: false },
    ),
    error('resolvable', 'It is there.', {}, { couldNotResolve: true }),
    error(
      'listed',
      'Every file of src/ has a row in MAY_IMPORT.',
      { path: '^src/', pathNot: Object.keys(MAY_IMPORT).map(path => `^${path}`) },
      {},
    ),
    ...Object.entries(MAY_IMPORT).map(([path, targets]) =>
      error(
        `direction of ${path}`,
        'See MAY_IMPORT.',
        { path: `^${path}` },
        { path: '^(src|test|scripts)/', pathNot: [path, BASE, ...targets].map(target => `^${target}`) },
      ),
    ),
    ...Object.entries(HOMES).map(([name, home]) =>
      error(
        `home of ${name}`,
        'See HOMES.',
        { path: '^src/', pathNot: `^${home}` },
        { path: inPackage(name) },
      ),
    ),
    error(
      'package without a home',
      'See HOMES.',
      { path: '^src/' },
      { path: 'node_modules/', pathNot: Object.keys(HOMES).map(inPackage) },
    ),
    error(
      'process',
      'Only main.ts reads the command line and environment or ends the process.',
      { path: '^src/', pathNot: '^src/(main|log)\\.ts$' },
      { path: '^(node:)?process$' },
    ),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
    },
  },
}
