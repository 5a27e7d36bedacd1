/** Sources and formats of config values. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ConfigError, loadConfig } from '../../src/config/config.js'
import { TIMER } from '../../src/config/formats.js'
import { listenFault } from '../../src/config/listen.js'
import { mongoUrlFault } from '../../src/config/mongodb-url.js'
import { readArguments, readConfigFile, readEnvironment } from '../../src/config/sources.js'
import { dataDir } from '../helpers/gateway.js'

const load = (...argv: string[]) => loadConfig({ argv, env: {} })

t.test('arguments: --key value and --key=value; other words are faults, which do not print them', async t => {
  const faults: string[] = []
  const { files, layer } = readArguments(
    [
      '--http.port',
      '9',
      '--data.dir=/x=y',
      '--config',
      'a',
      '--config=b',
      'secret',
      '--no.such',
      '1',
      '--mqtt.port',
      '--log.level',
    ],
    faults,
  )
  t.same(files, ['a', 'b'])
  t.same(
    [...layer.values],
    [
      ['http.port', '9'],
      ['data.dir', '/x=y'],
    ],
  )
  t.equal(layer.origin('http.port'), '--http.port')
  t.same(faults, [
    'unexpected argument behind --config: options are --section.key VALUE',
    '--no.such: no such option',
    '--mqtt.port: needs a value',
    '--log.level: needs a value',
  ])
})

t.test('environment: MUMI_ variables are keys, except those of the tests', async t => {
  const faults: string[] = []
  const { values } = readEnvironment(
    { MUMI_HTTP_PORT: '9', MUMI_NONE: '1', MUMI_TEST_X: '1', PATH: 'p' },
    faults,
  )
  t.same([...values], [['http.port', '9']])
  t.equal(faults.length, 1)
  t.match(faults[0], /^MUMI_NONE: /)
})

t.test('files: JSON5 of known keys; a section cannot be a value, nor a value a section', async t => {
  const file = join(dataDir(t), 'c.json5')
  const read = (text: string) => {
    writeFileSync(file, text)
    const faults: string[] = []
    return { faults, values: [...readConfigFile(file, faults, false).values] }
  }
  t.same(read('{http: {port: 9}, /* c */}').values, [['http.port', 9]])
  for (const [text, fault] of [
    ['{http: 1}', /^http: must be an object/],
    ['{http: {port: {}}}', /^http.port: must be a value/],
    ['{nope: 1}', /^nope: no such key/],
    ['[1]', /^the config: must be an object/],
    ['{', /^cannot read config file/],
  ] as const)
    t.match(read(text).faults[0], fault, text)
})

t.test('formats: each at its limits', async t => {
  for (const [key, good, bad] of [
    ['http.enabled', ['true', 'false'], ['yes', '1', '']],
    ['http.port', ['0', '65535'], ['-1', '65536', '1.5', '80a', '']],
    ['mqtt.connectTimeout', ['10ms', TIMER.max, '10 s'], ['9ms', '25d', '10 days', '-1']],
    ['mqtt.maxPacketBytes', ['128', '256MiB'], ['127', '257MiB', '1MB', '1.5KiB']],
    ['mqtt.websocketPath', ['/mqtt', '/a/b-c.d~e'], ['/', 'mqtt', '/a b', '/a?b']],
    [
      'http.origins',
      ['', 'https://a.example', 'https://*.a.example', 'null'],
      ['https://a.example/', 'https://*.example', 'a'],
    ],
    ['http.trustProxy', ['10.0.0.1', 'fd00::/8,10.0.0.0/32'], ['10.0.0.0/33', 'fd00::/129', 'localhost']],
    ['roles.admins', ['', '123456789,987654321'], ['012345678', '1234567890', 'me']],
    [
      'mqtt.acl',
      ['open', '[{"pattern":"a/%u/#","access":"read"}]'],
      [
        '[{"pattern":"users/x","access":"read"}]',
        '[{"pattern":"a/#/b","access":"read"}]',
        '[{"pattern":"a"}]',
        '[',
      ],
    ],
  ] as const) {
    for (const value of good) t.doesNotThrow(() => load(`--${key}=${value}`), `${key} ${value}`)
    for (const value of bad) t.throws(() => load(`--${key}=${value}`), ConfigError, `${key} ${value}`)
  }
})

t.test('MongoDB URLs: an unescaped password is a fault, which does not print it', async t => {
  for (const url of [
    'mongodb://localhost',
    'mongodb://u:p%40ss@a:27017,b:27018/db?replicaSet=rs&tls=true',
    'mongodb+srv://u:p@cluster.example',
    'mongodb://[::1]:27017',
  ])
    t.equal(mongoUrlFault(url), undefined, url)
  for (const url of [
    undefined,
    'http://localhost',
    'mongodb://',
    'mongodb://u:p@ss@host',
    'mongodb://u:p/ss@host',
    'mongodb://host:0',
    'mongodb://host:65536',
    'mongodb+srv://a,b',
    'mongodb+srv://a:1',
    'mongodb://h/d?x=%zz',
    'mongodb://h/a.b',
  ]) {
    const fault = mongoUrlFault(url)
    t.type(fault, 'string', String(url))
    t.notMatch(fault, 'ss@', 'nothing of it is repeated')
  }
})

t.test('the report of a port that is in use names its config key', async t => {
  const config = load('--http.port', '8080', '--mqtt.port', '1883')
  const fault = (error: object) => listenFault(Object.assign(new Error('m'), error), config)
  t.match(
    fault({ syscall: 'listen', code: 'EADDRINUSE', address: '::', port: 1883 }),
    /^mqtt.port: :::1883 is in use/,
  )
  t.match(fault({ syscall: 'listen', code: 'EACCES', address: '::', port: 8080 }), /^http.port: no right/)
  t.match(
    fault({ syscall: 'listen', code: 'EADDRNOTAVAIL', address: '9.9.9.9', port: 8080 }),
    /^http.host: 9.9.9.9 is no address/,
  )
  t.match(
    fault({ syscall: 'getaddrinfo', code: 'ENOTFOUND', hostname: '127.0.0.1' }),
    /no such host as 127.0.0.1/,
  )
  t.equal(fault({ syscall: 'read' }), undefined)
})
