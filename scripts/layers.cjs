/**
 * Which way imports may point in src/, for dependency-cruiser, and that nothing in src/, scripts/ and test/ imports in a
 * circle. `npm test` checks it.
 */

/** Any file may import it; it imports nothing else of src/. */
const CORE = 'src/core/'

const STORE = 'src/store/store\\.ts'

/** Folder or file → what it may import in src/ besides itself and CORE. */
const MAY_IMPORT = {
  [CORE]: [],
  'src/flow/': [],
  'src/config/': ['src/mqtt/acl/access\\.ts'],
  'src/protocol/': [],
  'src/store/': ['src/flow/'],
  'src/store/embedded/': ['src/store/(base|contents|deleted|store|upgrade)\\.ts', 'src/flow/'],
  'src/store/mongodb/': ['src/store/(base|contents|deleted|store|upgrade)\\.ts', 'src/flow/'],
  'src/net/': ['src/flow/'],
  'src/http/': [],
  'src/images/': [STORE, 'src/(flow|http)/'],
  'src/limits/': ['src/flow/'],
  'src/accounts/': [STORE, 'src/flow/'],
  'src/auth/': [STORE, 'src/(flow|accounts)/'],
  'src/live/': ['src/auth/permissions\\.ts'],
  'src/inbox/': [STORE, 'src/flow/'],
  'src/mail/': [STORE, 'src/(accounts|auth|flow)/'],
  'src/encryption/': [],
  'src/files/': [STORE, 'src/(flow|images)/'],
  'src/files-http/': ['src/(files|http)/'],
  'src/handle/': [STORE, 'src/(accounts|auth|files|flow|images|inbox|limits|live|mail|protocol)/'],
  'src/json/': [
    'src/auth/(authenticate|permissions)\\.ts',
    'src/(encryption|flow|handle|inbox|limits|live|net|protocol)/',
  ],
  'src/mqtt/[^/]+\\.ts': [
    STORE,
    'src/auth/(authenticate|login-log|permissions)\\.ts',
    'src/(flow|handle|inbox|limits|live|mqtt|protocol)/',
  ],
  'src/mqtt/wire/': ['src/(flow|limits|net)/'],
  'src/mqtt/acl/': [],
  'src/mqtt/routing/': [STORE, 'src/(flow|live)/', 'src/mqtt/(acl|wire)/'],
  'src/mqtt/routing/persistence/': [
    STORE,
    'src/flow/',
    'src/mqtt/acl/client-id\\.ts',
    'src/mqtt/routing/trie\\.ts',
  ],
  'src/admin/': ['src/auth/admin-tokens\\.ts', 'src/(handle|protocol)/'],
  'src/rest/': ['src/auth/authenticate\\.ts', 'src/(flow|handle|http|limits|protocol)/'],
  'src/account-pages/': ['src/auth/(proofs|secrets|second-factor/totp)\\.ts', 'src/(handle|http|protocol)/'],
  // The composition root.
  'src/app/': [
    'src/(account-pages|accounts|admin|auth|config|encryption|files|files-http|flow|handle|http|images|inbox|json|limits|live|mail|mqtt|net|protocol|rest|store)/',
  ],
  // A client: it knows the wire and no part of the server.
  'src/chat/': [],
  'src/import/': ['src/accounts/email\\.ts', 'src/protocol/admin\\.ts'],
  'src/cli/': ['src/(app|chat|config|import)/', 'src/protocol/admin-ranges\\.ts'],
  'src/main\\.ts': ['src/cli/'],
}

/** Package → the one place that imports it. A package that is not listed may be imported nowhere. */
const HOMES = {
  '(content-disposition|range-parser)': 'src/files-http/',
  '@aws-sdk/client-s3': 'src/files/s3\\.ts',
  '@tus/server': 'src/files-http/tus\\.ts',
  'file-type': 'src/files/',
  '@sinclair/typebox': 'src/protocol/',
  '@sqlite\\.org/sqlite-wasm': 'src/import/',
  hpke: 'src/encryption/',
  qlobber: 'src/mqtt/routing/',
  qr: 'src/account-pages/security\\.ts',
  '(@zxcvbn-ts/language-common|bcrypt|piscina|validator)': 'src/accounts/',
  fastify: 'src/rest/api\\.ts',
  jose: 'src/auth/',
  sharp: 'src/images/',
  unhomoglyph: 'src/accounts/',
  '@simplewebauthn/server': 'src/auth/second-factor/webauthn\\.ts',
  otplib: 'src/auth/second-factor/totp\\.ts',
  nodemailer: 'src/mail/transport\\.ts',
  'lru-cache': 'src/core/recent\\.ts',
  commander: 'src/cli/operator/',
  'ipaddr\\.js': 'src/limits/',
  '(convict|ini|json5|smol-toml|yaml)': 'src/config/',
  lmdb: 'src/store/embedded/',
  mongodb: 'src/store/mongodb/',
  '(pino|pino-pretty)': 'src/core/(audit|log)\\.ts',
  '@opentelemetry/(api|exporter-trace-otlp-http|resources|sdk-trace)': 'src/app/tracing\\.ts',
  'prom-client': 'src/core/(metrics|watched)\\.ts',
  uuid: 'src/inbox/',
  ws: 'src/mqtt/wire/|^src/net/websocket|^src/chat/link\\.ts',
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
    error('resolvable', 'It is there.', { path: '^src/' }, { couldNotResolve: true }),
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
        { path: '^(src|test|scripts)/', pathNot: [path, CORE, ...targets].map(target => `^${target}`) },
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
      'Only main.ts and cli/ read the command line and environment or end the process.',
      { path: '^src/', pathNot: '^src/(main\\.ts|cli/|core/log\\.ts)' },
      { path: '^(node:)?process$' },
    ),
    error(
      'signals first',
      'A signal that comes while modules load is answered: main.ts loads them behind cli/signals.ts.',
      { path: '^src/main\\.ts$' },
      { pathNot: '^src/cli/signals\\.ts$', dynamic: false },
    ),
    error('signals alone', 'See signals first.', { path: '^src/cli/signals\\.ts$' }, {}),
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
