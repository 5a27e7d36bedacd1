/** Files that people send. See schema.ts. */
import { bytes, choice, count, duration, file, flag, optional, secret, text, types } from '../formats.js'

export const FILES = {
  files: {
    enabled: flag(true, 'Files: uploads, links and messages with files (docs/files.md).'),
    storage: choice(
      'disk',
      ['disk', 's3'],
      'Where files are kept: `disk`, in `files` below `data.dir`; `s3`, in a bucket of an S3-compatible service, which all gateways of one MongoDB share. Uploads that are under way are on the disk in any case.',
    ),
    s3: {
      endpoint: optional(
        '',
        'URL of the service, `https://minio.example:9000`. Empty: Amazon’s for the region.',
      ),
      region: text('us-east-1', 'Region of the bucket; a compatible service may take any.'),
      bucket: text('mumi-files', 'Bucket. It must be there, and not be public.'),
      prefix: optional('', 'What every key begins with, `chat/`.'),
      accessKey: optional(
        '',
        'Access key. Empty: as the AWS SDK finds it (environment, role of the machine).',
      ),
      secretKey: secret('', 'Its secret. Never printed.'),
      pathStyle: flag(
        false,
        'Whether the bucket is named in the path and not in the host, as MinIO and others need it.',
      ),
      timeout: duration('10s', { min: '1s', max: '10m' }, 'How long the service may be silent.'),
    },
    maxSize: bytes('10MiB', { min: 1, max: '64GiB' }, 'Largest file; a larger one is answered 10103.'),
    types: types(
      '',
      'Media types that are taken, separated by commas: `image/*,application/pdf`; with `!` before it, one that is not. What counts is what the bytes are. Others are answered 10172. Empty: all.',
    ),
    quota: bytes('100MiB', {}, 'Most bytes of files of one account; beyond it, 10171.'),
    perDay: bytes(
      '100MiB',
      {},
      'Most bytes that one account may send a day (UTC), those of uploads that failed and of files that are gone included. What is announced counts until it came, or is removed or expires. Beyond it, 10171; an upload that has begun is not cut off.',
    ),
    perAccount: count(500, { min: 1, max: 10_000 }, 'Most files of one account; beyond it, 10171.'),
    openUploads: count(
      20,
      { min: 1, max: 1000 },
      'Most files of one account that are announced and not uploaded yet, which also bounds its uploads at a time; beyond it, 10171.',
    ),
    total: bytes('5GiB', {}, 'Most bytes of files of all accounts; beyond it, 10105.'),
    minFree: bytes(
      '512MiB',
      {},
      'Bytes that uploads leave free on the disk of `data.dir`, which the store needs; beyond it, 10105.',
    ),
    uploadTime: duration('1h', { min: '10s', max: '7d' }, 'How long an announced file may be uploaded.'),
    linkLifetime: duration(
      '7d',
      { min: '1m', max: '365d' },
      'How long a link to a file is good, and up to an hour longer. A link in `content` is made when the message is delivered.',
    ),
    orphanLifetime: duration('1d', { min: '1m' }, 'How long a file is kept that no message refers to.'),
    keep: duration(
      '0',
      {},
      'How long a file is kept after the last message that refers to it was sent. 0: until its owner removes it or is deleted.',
    ),
    scan: file(
      '',
      'Program that looks at each upload before anybody can get it: it is run with the path as its one argument, without a shell, and lets the file in by exit code 0. Empty: none.',
    ),
    scanTimeout: duration(
      '1m',
      { min: '1s', max: '1h' },
      'How long that program may take. Then it is killed, and the upload answered 10175.',
    ),
  },
} as const
