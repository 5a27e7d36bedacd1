/** Where data and log lines go. See schema.ts. */
import { choice, count, duration, file, flag, mongoUrl, text } from '../formats.js'

export const DATA = {
  data: {
    dir: text(
      './data',
      'Folder of all stored data, created if missing; relative to the working directory. Only one process may use it at a time.',
    ),
  },
  store: {
    type: choice(
      'embedded',
      ['embedded', 'mongodb'],
      'Where data is stored: `embedded` is LMDB in the folder `store` of `data.dir`, with nothing to install; `mongodb` is a MongoDB server (docs/mongodb.md).',
    ),
    durability: choice(
      'commit',
      ['commit', 'flush'],
      'When a message counts as stored, with `embedded`: `commit` survives the death of the process; `flush` waits for the disk and survives a power cut.',
    ),
    checkTimeout: duration(
      '30s',
      { min: 0, max: '1h' },
      'How long the start may check the file of `embedded` for damage, if the last stop was not clean or the file has been replaced. What is not checked by then stays unchecked. `mumi check` checks all of it.',
    ),
    upgradeBackup: flag(
      true,
      'Whether a start that upgrades data of an older format first writes a backup of them into `data.dir` (`backup-format-…`), and fails without. With `false` make one before.',
    ),
    mongodb: {
      url: mongoUrl(
        'mongodb://127.0.0.1:27017',
        'Connection string, with user, password and any option of the driver. Never printed.',
      ),
      database: text('mumi', 'Database of all data; created if missing.'),
      gateway: text(
        'main',
        'Name under which MQTT sessions, retained messages and wills are stored. Each gateway on the same database needs its own.',
      ),
      writeConcern: choice(
        'majority',
        ['majority', '1', '2', '3'],
        'How many servers must have a write before it counts as stored. With less than `majority`, a failover can lose acknowledged messages.',
      ),
      journal: flag(
        true,
        'Whether these servers must have the write in their journal. Without, a power cut can lose acknowledged messages.',
      ),
      readConcern: choice(
        'majority',
        ['majority', 'local'],
        'Which writes are read. With `local`, messages may be delivered that a failover then undoes.',
      ),
      poolSize: count(20, { min: 2, max: 1000 }, 'Most connections to the server.'),
      timeout: duration(
        '5s',
        { min: '100ms', max: '1h' },
        'How long an operation may take. Then the request is answered with a code that tells to try again.',
      ),
      startTimeout: duration(
        '30s',
        { min: '100ms', max: '1h' },
        'How long the start waits for the server. Then it fails with exit code 1.',
      ),
    },
  },
  log: {
    level: choice(
      'info',
      ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
      'Lowest level that is logged. Lines about single messages have level `debug`.',
    ),
    pretty: choice(
      'auto',
      ['auto', 'always', 'never'],
      'Readable lines instead of JSON; `auto`: if stdout is a terminal.',
    ),
    file: file(
      '',
      'File to which log lines are appended, as JSON unless `log.pretty` is `always`, instead of stdout. SIGHUP opens it anew (logrotate: rename it, then send SIGHUP), and `audit.file`, too. Empty: stdout.',
    ),
    connections: choice(
      'info',
      ['debug', 'info', 'warn', 'silent'],
      'Level of the lines of each login and each end of a connection.',
    ),
    redact: choice(
      'none',
      ['none', 'network', 'all'],
      'What is left out of the addresses of clients in log and audit: `network` leaves the first 24 bits of IPv4 and the first 48 of IPv6, `all` nothing.',
    ),
    repeatWindow: duration(
      '10s',
      { max: '1h' },
      'Refusals and faults that repeat within this time are counted and become one line with `repeats`. 0: every one is a line.',
    ),
  },
  locale: choice(
    'zh-TW',
    ['zh-TW', 'en'],
    'Language of `msg` in replies. A connection can choose another with `?lang=en`.',
  ),
} as const
