/** Where data and log lines go. See schema.ts. */
import { choice, count, duration, flag, mongoUrl, text } from '../formats.js'

export const DATA = {
  data: {
    dir: text(
      './data',
      'Folder of everything that is kept, made when absent; relative to the working directory. One process at a time.',
    ),
  },
  store: {
    type: choice(
      'embedded',
      ['embedded', 'mongodb'],
      'Where it is kept: `embedded` is LMDB in the folder `store` of `data.dir`, nothing to install; `mongodb` is a MongoDB server (docs/mongodb.md).',
    ),
    durability: choice(
      'commit',
      ['commit', 'flush'],
      'When a message counts as stored, with `embedded`: `commit` survives the death of the process, `flush` waits for the disk and survives a power cut.',
    ),
    checkTimeout: duration(
      '30s',
      { min: 0, max: '1h' },
      'How long a start may read the file of `embedded` for damage where the last stop was none, or the file is another one since; what is not read by then stays unchecked. `mumi check` reads all of it.',
    ),
    mongodb: {
      url: mongoUrl(
        'mongodb://127.0.0.1:27017',
        'Connection string, with user, password and any other option of the driver. Never printed.',
      ),
      database: text('mumi', 'Database that holds everything; made when absent.'),
      gateway: text(
        'main',
        'Name under which MQTT sessions, retained messages and wills are kept: each of several gateways on one database needs its own.',
      ),
      writeConcern: choice(
        'majority',
        ['majority', '1', '2', '3'],
        'Servers that must have a write before it counts as stored. With less than `majority` a failover can lose what was acknowledged.',
      ),
      journal: flag(
        true,
        'Whether they must have it in their journal, too: without, a power cut can lose what was acknowledged.',
      ),
      readConcern: choice(
        'majority',
        ['majority', 'local'],
        'What is read: with `local`, messages may be delivered that a failover then undoes.',
      ),
      poolSize: count(20, { min: 2, max: 1000 }, 'Connections to the server at most.'),
      timeout: duration(
        '5s',
        { min: '100ms', max: '1h' },
        'How long an operation may take; then the request is answered with a code to try again.',
      ),
      startTimeout: duration(
        '30s',
        { min: '100ms', max: '1h' },
        'How long the start waits for the server; then it fails with exit code 1.',
      ),
    },
  },
  log: {
    level: choice(
      'info',
      ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
      'Lowest level that is logged. Each single message is at `debug`.',
    ),
    pretty: choice(
      'auto',
      ['auto', 'always', 'never'],
      'Lines for people instead of JSON; `auto`: when stdout is a terminal.',
    ),
    repeatWindow: duration(
      '10s',
      { max: '1h' },
      'A refusal or fault that repeats within this time is counted and becomes one line with `repeats`; 0 = each is a line.',
    ),
  },
  locale: choice(
    'zh-TW',
    ['zh-TW', 'en'],
    'Language of `msg` in replies; a connection chooses another with `?lang=en`.',
  ),
} as const
