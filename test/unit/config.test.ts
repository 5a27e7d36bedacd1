import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import JSON5 from 'json5'
import t, { type Test } from 'tap'
import { ConfigError, loadConfig, printConfig } from '../../src/config/config.js'
import { configTable, defaultFile } from '../../src/config/docs.js'
import { ACCOUNTS } from '../../src/config/keys/accounts.js'
import { DATA } from '../../src/config/keys/data.js'
import { DELIVERY } from '../../src/config/keys/delivery.js'
import { FILES } from '../../src/config/keys/files.js'
import { FRONT_ENDS } from '../../src/config/keys/front-ends.js'
import { LIMITS } from '../../src/config/keys/limits.js'
import { OPERATION } from '../../src/config/keys/operation.js'
import { parseConfigFile } from '../../src/config/parse-file.js'
import { envName, KEYS, SCHEMA } from '../../src/config/schema.js'

const load = (argv: string[] = [], env: Record<string, string> = {}) => loadConfig({ argv, env })

function faults(argv: string[] = [], env: Record<string, string> = {}): readonly string[] {
  try {
    load(argv, env)
  } catch (error) {
    if (error instanceof ConfigError) return error.faults
    throw error
  }
  return []
}

function configFile(t: Test, content: string): string {
  const file = join(t.testdir(), 'mumi.json5')
  writeFileSync(file, content)
  return file
}

t.test('defaults are parsed: durations to ms, sizes to bytes', async t => {
  const config = load()
  t.match(config, {
    http: { enabled: true, host: '127.0.0.1', port: 8080 },
    mqtt: { port: 1883, acl: 'closed', maxPacketBytes: 1_048_576, sessionExpiry: 2_592_000_000 },
    heartbeat: { interval: 30_000, timeout: 10_000 },
    limits: { content: 65_536 },
    inbox: { maxAge: 0 },
    locale: 'zh-TW',
  })
})

t.test('the order of precedence is defaults, files in turn, environment, command line', async t => {
  const dir = t.testdir({
    'one.json': '{"http": {"port": 1}, "mqtt": {"port": 1}, "ops": {"port": 1}, "query": {"limit": 1}}',
    'two.json5': '{mqtt: {port: 2}, ops: {port: 2}, query: {limit: 2}} // JSON5',
  })
  const files = ['--config', join(dir, 'one.json'), `--config=${join(dir, 'two.json5')}`]
  const config = load([...files, '--query.limit', '4'], { MUMI_OPS_PORT: '3', MUMI_QUERY_LIMIT: '3' })
  t.match(config, { http: { port: 1 }, mqtt: { port: 2 }, ops: { port: 3 }, query: { limit: 4 } })
})

t.test('a config file is YAML or TOML where its name says so', async t => {
  const dir = t.testdir({
    'one.yaml': '# chat\nhttp:\n  port: 1 # here\nheartbeat: { interval: 30s }\nmqtt:\n  anonymous: true\n',
    'one.yml': 'http: {port: 1}\nheartbeat:\n  interval: "30s"\nmqtt.anonymous: true\n',
    'one.toml': 'mqtt.anonymous = true\n[http]\nport = 1\n[heartbeat]\ninterval = "30s"\n',
  })
  for (const name of ['one.yaml', 'one.toml'])
    t.match(load(['--config', join(dir, name)]), {
      http: { port: 1 },
      heartbeat: { interval: 30_000 },
      mqtt: { anonymous: true },
    })
  t.match(load(['--config', join(dir, 'one.yml')]), { http: { port: 1 }, mqtt: { anonymous: true } })
})

t.test('a fault in a config file is told with its place, and without a piece of the file', async t => {
  const dir = t.testdir({
    'a.yaml': 'jwt:\n  secret: "hush\nhttp: 1\n',
    'b.yaml': 'http:\n  port: 1\n  port: 2\n',
    'c.yaml': 'http: &hush\n  port: *none\n',
    'd.toml': '[jwt]\nsecret = hush\n',
    'e.toml': '[http]\nport = 1\nport = 2\n',
    'f.toml': 'http = 2026-11-29T00:00:00Z\n',
    'g.json5': '{jwt: {secret: hush}}',
    'h.yaml': '- hush\n',
  })
  const told = (name: string) => faults(['--config', join(dir, name)]).join('\n')
  t.match(told('a.yaml'), /cannot read config file .*a\.yaml: YAML: [A-Z_]+ at \d+:\d+/)
  t.match(told('b.yaml'), /DUPLICATE_KEY at 3:3/)
  t.match(told('c.yaml'), /c\.yaml/)
  t.match(told('d.toml'), /TOML: not valid at 2:\d+/)
  t.match(told('e.toml'), /TOML: not valid at 3:\d+/)
  t.match(told('f.toml'), /http: /)
  t.match(told('h.yaml'), /must be an object of keys/)
  for (const name of ['a.yaml', 'b.yaml', 'c.yaml', 'd.toml', 'e.toml', 'f.toml', 'g.json5', 'h.yaml']) {
    t.not(told(name), '')
    t.notMatch(told(name), /hush/, name)
  }
})

t.test('parseConfigFile: the ending of a name, in either case, says what the text is', async t => {
  const value = { a: { b: 1 } }
  for (const [name, text] of [
    ['x', '{a: {b: 1}}'],
    ['x.JSON', '{"a": {"b": 1}}'],
    ['x.YML', 'a:\n  b: 1'],
    ['x.Toml', 'a.b = 1'],
  ] as const)
    t.same(JSON.parse(JSON.stringify(parseConfigFile(name, text))), value, name)
  t.throws(() => parseConfigFile('x.toml', 'a: {b: 1}'), { message: /^TOML: not valid at 1:/ })
  t.throws(() => parseConfigFile('x.json', 'a = hush'), { message: /^(?!.*hush)/ })
})

t.test("the old server's app.ini is understood, and what has no effect is told", async t => {
  const dir = t.testdir({
    'app.ini': [
      '# possible values : release, debug',
      'app_mode = debug',
      '[paths]',
      'data = ./old',
      '[server]',
      '; the port',
      'HTTP_PORT = 8123',
      'READ_TIMEOUT = 60',
      '[database]',
      'TYPE = sqlite3',
      'NAME = chat',
      'PATH = ./',
      'SECRET WORD = x',
    ].join('\r\n'),
    'bad.ini': '[server]\nHTTP_PORT = 80a\n[paths]\ndata =\n',
  })
  const told: string[] = []
  const argv = ['--config', join(dir, 'app.ini')]
  const config = loadConfig({ argv, env: {}, warn: line => told.push(line) })
  t.match(config, { http: { port: 8123 }, data: { dir: './old' }, log: { level: 'debug' } })
  t.equal(loadConfig({ argv: [...argv, '--http.port', '9'], env: {} }).http.port, 9)
  t.same(
    told.map(line => line.slice(0, line.indexOf(':'))),
    ['server.HTTP_PORT', 'server.READ_TIMEOUT', 'database.TYPE', 'database.NAME', 'database.PATH', '…'],
  )
  for (const set of [
    { argv: [...argv, '--http.host', '::'], env: {} },
    { argv, env: { MUMI_HTTP_HOST: '::' } },
  ]) {
    const warned: string[] = []
    loadConfig({ ...set, warn: line => warned.push(line) })
    t.same(warned, told.slice(1), 'who says where to listen needs no word about it')
  }
  t.match(told.at(-1), /is unknown, and has no effect \(.*app\.ini\)$/)
  t.throws(() => loadConfig({ argv: ['--config', join(dir, 'bad.ini')], env: {} }), {
    message: /http\.port: .*bad\.ini\)\ndata\.dir: .*bad\.ini\)/,
  })
})

t.test('durations and sizes take a number or a unit', async t => {
  const interval = (text: string) => load(['--heartbeat.interval', text]).heartbeat.interval
  t.strictSame(
    ['250', '250ms', '30 s', '5m', '12h', '7d'].map(interval),
    [250, 250, 30_000, 300_000, 43_200_000, 604_800_000],
  )
  const content = (text: string) => load(['--limits.content', text, '--limits.frame', '64MiB']).limits.content
  t.strictSame(['7', '7B', '2KiB', '3MiB'].map(content), [7, 7, 2048, 3_145_728])
})

t.test('a value with a valid beginning and an invalid rest is refused', async t => {
  for (const [key, value] of [
    ['http.port', '80a'],
    ['http.port', '65536'],
    ['http.port', '-1'],
    ['http.port', ''],
    ['http.port', '0x50'],
    ['http.host', ''],
    ['mqtt.anonymous', 'no'],
    ['mqtt.anonymous', '0'],
    ['heartbeat.interval', '1.5s'],
    ['heartbeat.interval', '1 year'],
    ['heartbeat.interval', '0'],
    ['heartbeat.interval', '25d'],
    ['limits.content', '64kb'],
    ['passwords.cost', '3'],
    ['log.level', ''],
    ['mqtt.maxTopicBytes', '1025'],
    ['mqtt.websocketPath', 'mqtt'],
    ['locale', 'de'],
  ] as const) {
    const [fault, ...more] = faults([`--${key}=${value}`])
    t.match(fault, `${key}: must be `, `${key}=${value}`)
    t.match(fault, `(--${key})`)
    t.same(more, [])
  }
})

t.test('all faults of all sources are reported at once, each with its key and place', async t => {
  const file = configFile(
    t,
    "{http: {port: 'x', prot: 1}, mqtt: 5, nothing: {}, __proto__: {a: 1}, log: {level: {a: {b: 1}}}}",
  )
  const found = faults(
    [
      '--config',
      file,
      '--config',
      '/does/not/exist',
      '--htp.port',
      '1',
      '--locale',
      '--mqtt.port=x',
      'stray',
    ],
    {
      MUMI_HTTP_HOTS: 'a',
      MUMI_LIMITS_DEPTH: '1000',
      MUMI_TEST_MONGODB_URL: 'for the tests',
      HOME: '/root',
    },
  )
  for (const part of [
    '--htp.port: no such option',
    '--locale: needs a value',
    'unexpected argument behind --mqtt.port: options are',
    `http.prot: no such key (${file})`,
    `mqtt: must be an object of keys (${file})`,
    `nothing: no such key (${file})`,
    `__proto__: no such key (${file})`,
    'cannot read config file /does/not/exist: ENOENT',
    'MUMI_HTTP_HOTS: unknown MUMI_ variable: it names no key',
  ]) {
    t.equal(found.filter(fault => fault.startsWith(part)).length, 1, part)
  }
  t.match(
    found.find(fault => fault.startsWith('http.port:')),
    `(${file})`,
  )
  t.match(
    found.find(fault => fault.startsWith('mqtt.port:')),
    '(--mqtt.port)',
  )
  t.match(
    found.find(fault => fault.startsWith('limits.depth:')),
    '(MUMI_LIMITS_DEPTH)',
  )
  t.match(
    found.find(fault => fault.startsWith('log.level:')),
    `(${file})`,
  )
  t.equal(found.length, 13)
})

t.test('a config file that is not an object, or not JSON5, is one fault', async t => {
  t.match(faults(['--config', configFile(t, '[1]')]), [/must be an object of keys/])
  t.match(faults(['--config', configFile(t, '{http: ')]), [/cannot read config file .*JSON5/])
})

t.test('conflicting values are refused', async t => {
  t.match(faults(['--http.enabled', 'false', '--mqtt.enabled', 'false']), [/http.enabled, mqtt.enabled/])
  t.match(faults(['--limits.frame', '64KiB']), [/limits.frame: must be larger than limits.content/])
})

/** Wildcards that would match nothing, or everything. */
const WILD = [
  'https://*',
  'https://*.com',
  'https://*.*.example.com',
  'https://a.*.example.com',
  'https://a*.example.com',
  'https://*example.com',
  'https://*.example.com/',
  'https://*.example.com.',
  'https://*.10.0.0.1',
  'https://*.example.com:*',
  'https://*.example.com:443',
  '*://a.example.com',
  '*.example.com',
]

t.test('lists are comma-separated text, or JSON; addresses and origins are checked', async t => {
  t.strictSame(load().limits.exempt, ['127.0.0.0/8', '::1'])
  t.strictSame(load(['--limits.exempt=']).limits.exempt, [])
  t.strictSame(load(['--http.trustProxy', '10.0.0.1, fd00::/8']).http.trustProxy, ['10.0.0.1', 'fd00::/8'])
  t.strictSame(load(['--http.trustProxy', '["::1"]']).http.trustProxy, ['::1'])
  t.strictSame(load([], { MUMI_HTTP_ORIGINS: 'https://a.example' }).http.origins, ['https://a.example'])
  for (const value of ['localhost', '10.0.0.0/33', '::/129', '10.0.0.1/', '10.0.0.1/x', '10.0.0', '[1]', '['])
    t.match(faults([`--limits.exempt=${value}`]), [/^limits.exempt: must be a list of addresses/], value)
  for (const value of ['a.example', 'https://a.example/', 'https://A.example', '*', 'https://', ...WILD])
    t.match(faults([`--http.origins=${value}`]), [/^http.origins: must be a list of origins/], value)
})

t.test('a certificate needs its key, and loginDelayMax is at least loginDelay', async t => {
  t.match(faults(['--tls.cert', 'a.pem']), [/^tls.cert, tls.key: both/])
  t.match(faults(['--limits.loginDelay', '1h']), [/^limits.loginDelayMax: /])
})

t.test('mqtt.acl is closed, open, or a list of rules', async t => {
  const rules = [{ pattern: 'sensors/%u/#', access: 'readwrite' }]
  t.strictSame(load(['--mqtt.acl', JSON.stringify(rules)]).mqtt.acl, rules)
  t.strictSame(load(['--config', configFile(t, `{mqtt: {acl: ${JSON.stringify(rules)}}}`)]).mqtt.acl, rules)
  t.equal(load([], { MUMI_MQTT_ACL: 'open' }).mqtt.acl, 'open')
  for (const pattern of ['', 'a#', '#/a', 'a/+b', 'a\0b', 'users/#', 'users', '$SYS/#', '$share/g/t']) {
    const acl = JSON.stringify([{ pattern, access: 'read' }])
    t.match(faults(['--mqtt.acl', acl]), [/^mqtt.acl: /], acl)
  }
  for (const acl of [
    'ajar',
    '[',
    '{}',
    '[1]',
    '[{"pattern":"a"}]',
    '[{"pattern":"a","access":"all"}]',
    '[{"pattern":"a","access":"read","x":1}]',
  ]) {
    t.match(faults(['--mqtt.acl', acl]), [/^mqtt.acl: /], acl)
  }
})

t.test('the config cannot be changed', async t => {
  const config = load(['--mqtt.acl', '[{"pattern":"a","access":"read"}]'])
  t.ok([config, config.http, config.mqtt.acl, Object(config.mqtt.acl)[0]].every(Object.isFrozen))
})

t.test('the printed config is a valid config file', async t => {
  const argv = ['--http.port', '0', '--heartbeat.interval', '5m']
  const file = configFile(t, printConfig({ argv, env: {} }))
  t.strictSame(load(['--config', file]), load(argv))
})

t.test('every key has a description and a unique environment variable', async t => {
  for (const [name, key] of KEYS) t.ok(key.doc.length > 10 && key.doc.endsWith('.'), name)
  t.equal(new Set(Array.from(KEYS.keys(), envName)).size, KEYS.size)
  t.equal(envName('mqtt.maxPacketBytes'), 'MUMI_MQTT_MAX_PACKET_BYTES')
  t.equal(envName('locale'), 'MUMI_LOCALE')
})

t.test('docs/config.md and config/default.json5 are written from the schema', async t => {
  const shipped = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
  t.equal(shipped('docs/config.md'), configTable(), 'npm run docs:config')
  t.equal(shipped('config/default.json5'), defaultFile(), 'npm run docs:config')
  t.strictSame(load(['--config', configFile(t, defaultFile())]), load())
  t.same(Object.keys(JSON5.parse(defaultFile())), Object.keys(load()))
})

t.test('keys of a section within a section are set from every source', async t => {
  const file = configFile(t, "{store: {type: 'mongodb', mongodb: {database: 'chat', poolSize: 7}}}")
  const config = load(['--config', file, '--store.mongodb.timeout=2s'], {
    MUMI_STORE_MONGODB_POOL_SIZE: '9',
  })
  t.match(config.store, { type: 'mongodb', mongodb: { database: 'chat', poolSize: 9, timeout: 2000 } })
  t.match(faults(['--store.mongodb.sise=1']), [/no such option/])
})

t.test('the URL of MongoDB is printed neither in the config nor in a fault', async t => {
  const url = 'mongodb://ann:s3cret@db.example.org/'
  t.equal(load([], { MUMI_STORE_MONGODB_URL: url }).store.mongodb.url, url)
  t.notMatch(printConfig({ argv: [], env: { MUMI_STORE_MONGODB_URL: url } }), 's3cret')
  const [fault, ...others] = faults([], { MUMI_STORE_MONGODB_URL: 'mongo://ann:s3cret@db' })
  t.match(fault, /^store\.mongodb\.url: must be a connection string.*MUMI_STORE_MONGODB_URL/)
  t.notMatch(fault, 's3cret')
  t.same(others, [])
})

t.test('no possible part of a secret is printed', async t => {
  const urls = [
    'mongodb://user:p@ss:s3cr3t/word@host',
    'mongodb://user:s3cr3t@s3cr3t@host/db',
    'mongodb://user:s3cr3t/s3cr3t@host',
    'mongodb://user:12/s3cr3t@host',
    'mongodb://user:12?s3cr3t=s3cr3t@host',
    'mongodb://user:12/?s3cr3t@host/db',
    'mongodb://user:s3cr3t#s3cr3t@host',
    'mongodb://user:s3cr3t:s3cr3t@host',
    'mongodb://user:s3cr3t%zz@host',
    'mongodb://user:s3cr3t%ff@host',
    'mongodb://user:s3cr3t s3cr3t@host',
    'mongodb://user:s3cr3t[1]@host',
    'mongodb://user:s3cr3t@host:s3cr3t',
    'mongodb://user:s3cr3t@',
    'mongodb+srv://user:s3cr3t@a,s3cr3t',
    'mongodb+srv://user:s3cr3t@host:27017',
    'mongo://user:s3cr3t@host',
    's3cr3t',
    'mongodb://user:s3cr3t',
    '\nmongodb://user:s3cr3t@host',
  ]
  for (const url of urls) {
    for (const argv of [[`--store.mongodb.url=${url}`], ['--store.mongodb.url', url]]) {
      const [fault, ...others] = faults(argv)
      t.match(fault, /^store\.mongodb\.url: must/, url)
      t.notMatch(fault, /s3cr3t/, url)
      t.same(others, [])
    }
    t.notMatch(faults([`store.mongodb.url=${url}`]).join(), /s3cr3t/, 'not as an argument')
    if (url.includes('@')) {
      t.notMatch(faults([`--${url}`]).join(), /s3cr3t/, 'nor as an option')
      t.notMatch(faults(['--http.port', url, '--store.type', url]).join(), /s3cr3t/, 'nor as another key')
    }
  }
  t.notMatch(faults(['--store.mongodb.database', 'a', 's3cr3t']).join(), /s3cr3t/)
  t.notMatch(faults(['--config', configFile(t, `{store: {mongodb: {url: 'x' s3cr3t}}}`)]).join(), /'s/)
  const issuer = ['--jwt.issuer=a', '--jwt.audience=b']
  t.notMatch(faults([...issuer, '--jwt.jwksUrl=https://u:s3cr3t@host/keys']).join('-'), /s3cr3t|^$/)
  const argv = [...issuer, '--jwt.jwksUrl=https://host/keys?code=s3cr3t']
  t.notMatch(printConfig({ argv, env: {} }), /s3cr3t/)
})

t.test('valid connection strings are accepted', async t => {
  for (const url of [
    'mongodb://127.0.0.1:27017',
    'mongodb://localhost',
    'mongodb://a.example:27017,b.example:27018,[::1]:27019/word?replicaSet=rs0&tls=true',
    'mongodb://user:p%40ss%3As3cr3t%2Fword@host/admin?authSource=admin',
    "mongodb://us-er_1:p!$&'()*+,;=~.x@host/?readPreference=secondaryPreferred",
    'mongodb://user@host/?authMechanism=MONGODB-X509',
    'mongodb+srv://user:pass@cluster0.abcde.mongodb.net/mumi?retryWrites=true&w=majority',
    'mongodb://host/?authMechanismProperties=SERVICE_NAME:other,CANONICALIZE_HOST_NAME:forward',
    'mongodb://%2Ftmp%2Fmongodb-27017.sock/db',
  ]) {
    t.same(faults([`--store.mongodb.url=${url}`]), [], url)
  }
})

t.test('sizes that do not fit a document are refused with MongoDB only', async t => {
  const large = ['--limits.content=3MiB', '--limits.frame=32MiB', '--mqtt.maxPacketBytes=4MiB']
  t.same(faults(large), [])
  t.same(
    faults([...large, '--store.type=mongodb']).map(fault => fault.split(':')[0]),
    ['limits.content', 'mqtt.maxPacketBytes'],
  )
})

t.test(
  'the image listens on the container’s addresses, and keeps its data in a volume of its user',
  async t => {
    const file = readFileSync(new URL('../../config/Dockerfile', import.meta.url), 'utf8')
    const [, text = ''] = /^ENV (.*)$/m.exec(file) ?? []
    const { NODE_ENV: _, ...env } = Object.fromEntries(text.split(' ').map(pair => pair.split('=')))
    const { http, mqtt, data } = load([], env)
    t.match([http.host, mqtt.host], ['0.0.0.0', '0.0.0.0'])
    const made = `RUN mkdir --mode=0700 ${data.dir} && chown node:node ${data.dir}\nVOLUME ${data.dir}\nUSER node\n`
    t.ok(file.includes(made))
    for (const port of [http.port, mqtt.port]) t.match(file, new RegExp(`^EXPOSE .*\\b${port}\\b`, 'm'))
  },
)

t.test('the groups of keys have no section in common: the later one would hide the earlier', async t => {
  const groups = [FRONT_ENDS, DATA, DELIVERY, LIMITS, ACCOUNTS, FILES, OPERATION]
  t.same(
    groups.flatMap(group => Object.keys(group)),
    Object.keys(SCHEMA),
  )
})
