/** Accounts, their inboxes, and how they log in. See schema.ts. */
import {
  bytes,
  choice,
  count,
  duration,
  flag,
  optional,
  secretUrl,
  text,
  texts,
  userIds,
} from '../formats.js'

/** RFC 2142, and who may seem to speak for the server. */
const RESERVED_NAMES = [
  ...[
    'abuse',
    'admin',
    'administrator',
    'hostmaster',
    'info',
    'mailer-daemon',
    'marketing',
    'noc',
    'no-reply',
  ],
  ...[
    'noreply',
    'postmaster',
    'root',
    'sales',
    'security',
    'support',
    'sysadmin',
    'system',
    'webmaster',
    'www',
  ],
  ...['all', 'anonymous', 'broadcast', 'everyone', 'guest', 'here', 'me', 'moderator', 'mumi', 'mumichat'],
  ...[
    'nobody',
    'null',
    'official',
    'operator',
    'owner',
    'self',
    'server',
    'staff',
    'undefined',
    'unknown',
    'you',
  ],
]

export const ACCOUNTS = {
  accounts: {
    registration: choice(
      'open',
      ['open', 'invite', 'closed'],
      'Who may register: everyone; who has an invite (`mumi invite create`), others are answered 10136; nobody, all are answered 10135. The operator can always make accounts.',
    ),
    deletionGrace: duration(
      '0',
      {},
      'How long an account stays after its owner has deleted it: all its logins end at once, and a login with the password takes the deletion back. Then it is removed, at the next full hour of uptime or the next start. 0: it is removed at once.',
    ),
    broadcast: choice(
      'users',
      ['users', 'admins', 'off'],
      'Who may send broadcasts: everyone who is logged in (devices included), admins (`roles.admins`), nobody. Others are answered 10110.',
    ),
    verify: choice(
      'off',
      ['off', 'soft', 'required'],
      'Whether accounts confirm their email address: whoever registers gets a letter. `soft`: until then everything but broadcasts. `required`: until then no login (10140), which also counts for accounts from before.',
    ),
    reservedNames: texts(
      RESERVED_NAMES.join(', '),
      'User names that nobody may take, nor what looks like them; operators may give them. Whoever has one already keeps it.',
    ),
    nameHold: duration(
      '30d',
      { min: '1h', max: '365d' },
      'How long a user name that an account gave up, or that a deleted account had, is kept from others, so that nobody gets what is meant for its owner.',
    ),
    pages: flag(
      true,
      'Serve the pages below `/account/` on the HTTP port: a forgotten password, the links of letters, the second factor and app passwords.',
    ),
    resetLifetime: duration(
      '30m',
      { min: '1m', max: '1d' },
      'How long the link and the code of a letter for a forgotten password are good.',
    ),
    verifyLifetime: duration(
      '1d',
      { min: '1m', max: '30d' },
      'The same of a letter that confirms an email address.',
    ),
    undoLifetime: duration(
      '7d',
      { min: '1h', max: '90d' },
      'How long a changed email address can be taken back by the letter to the one before, which nobody else can have until then.',
    ),
  },
  images: {
    maxBytes: bytes(
      '5MiB',
      { min: '16KiB', max: '64MiB' },
      'Longest profile image that is taken. Also bounded by `rest.maxBufferedBytes`.',
    ),
    maxPixels: count(
      25_000_000,
      { min: 10_000, max: 100_000_000 },
      'Most pixels of an image that is decoded. One may take 8 bytes of memory a pixel meanwhile, in a process of its own; they are decoded one at a time.',
    ),
    timeout: duration(
      '10s',
      { min: '1s', max: '2m' },
      'How long decoding one image may take; then it is refused.',
    ),
  },
  request: {
    unknownFields: choice(
      'refuse',
      ['refuse', 'ignore'],
      'What happens with a field that the protocol does not define: the request is refused (10101), or the field is ignored.',
    ),
  },
  inbox: {
    maxMessages: count(
      1_000_000,
      { min: 1 },
      'Most messages in one inbox. Beyond it, the oldest messages that all devices of the account have confirmed (those seen within `devices.expiry`), or that have expired, are removed. Unconfirmed messages stay, and new ones are answered 10126: one sender may have 2 × (room left)² / `inbox.maxMessages` of them there, at most half of the inbox, and less the fuller it is.',
    ),
    maxBytes: bytes(
      '1GiB',
      { min: '64KiB' },
      'The same in bytes of the texts; unconfirmed messages count by characters.',
    ),
    maxAge: duration('0', {}, 'Messages older than this are removed, confirmed or not. 0: never.'),
    maxWaitingBytes: bytes(
      '64MiB',
      { min: '1MiB' },
      'Most bytes of messages that wait to be stored. One sender may have as many of them as are left for others: more is answered 10127, and a device that sends more is read later.',
    ),
    batchBytes: bytes(
      '8MiB',
      { min: '64KiB', max: '256MiB' },
      'Most bytes of messages in one commit. Broadcasts and senders of much data get an eighth of it; messages that arrive during a commit wait for the next. A single message may be larger.',
    ),
  },
  devices: {
    expiry: duration(
      '90d',
      {},
      'A device that was not seen for this long loses its position in the inbox. 0: never.',
    ),
  },
  passwords: {
    cost: count(
      10,
      { min: 4, max: 15 },
      'bcrypt cost; each step doubles the time of a login. Old hashes stay valid.',
    ),
    concurrency: count(
      0,
      { min: 0, max: 64 },
      'Passwords hashed at the same time, each in a thread of low priority. 0: the number of cores minus one, at least one, so that logins do not slow messages down.',
    ),
    queue: count(
      1000,
      { min: 1 },
      'Most logins and registrations that wait for hashing; a further one is answered 10001.',
    ),
    minLength: count(
      1,
      { min: 1, max: 64 },
      'Minimum length of a new password in characters; a shorter one is answered 10101. 8 suits a public server; 1 keeps every old client working.',
    ),
    common: choice(
      'allow',
      ['allow', 'refuse'],
      'Whether a new password may be one of the 10,000 most common ones; a refused one is answered 10101.',
    ),
  },
  tokens: {
    accessLifetime: duration(
      '15m',
      { min: '1s', max: '1d' },
      'How long an access token can be used to log in. A connection stays open after its token has expired.',
    ),
    refreshLifetime: duration(
      '30d',
      { min: '1s' },
      'How long a refresh token is valid. Each use gives a new one, valid for the same time.',
    ),
    refreshGrace: duration(
      '5s',
      { max: '1m' },
      'How long after its first use a refresh token gives the same pair of tokens again, for two tabs of a browser that refresh at once. A thief’s use within this time is not detected. 0: never.',
    ),
    keyLifetime: duration(
      '30d',
      {},
      'Age at which the key that signs tokens is replaced. The old key verifies until its last token has expired. 0: never.',
    ),
    perAccount: count(
      100,
      { min: 1, max: 10_000 },
      'Most logins with tokens, device credentials and app passwords of one account. A further one replaces the one that was not seen for longest.',
    ),
  },
  jwt: {
    jwksUrl: secretUrl(
      '',
      'URL of the public keys (JWKS) of another issuer, whose JWTs are accepted at login, too. Empty: none.',
    ),
    publicKeyFile: optional(
      '',
      'The public key or certificate of that issuer as a PEM file. Empty: none. Not together with `jwt.jwksUrl`.',
    ),
    issuer: optional(
      '',
      'The `iss` that such a token must have; required with `jwt.jwksUrl` or `jwt.publicKeyFile`.',
    ),
    audience: optional(
      '',
      'The `aud` that such a token must have; required with `jwt.jwksUrl` or `jwt.publicKeyFile`.',
    ),
    leeway: duration(
      '1m',
      { max: '10m' },
      'Tolerated difference between the issuer’s clock and ours: a token is accepted this long before its `nbf` and after its `exp`.',
    ),
    claim: text('sub', 'The claim that names the user. The user must have an account here.'),
    user: choice(
      'id',
      ['id', 'email'],
      'Whether that claim is a user id or an email. `email` requires the claim `email_verified` to be true. The gateway does not check that an account’s email belongs to its owner, so with `email` do not let strangers register.',
    ),
  },
  roles: {
    admins: userIds(
      '',
      'Ids of the accounts with the role `admin`, separated by commas. Admins list and revoke the logins of all accounts, have what `mqtt.acl` grants to that role, and may read `$SYS/…`.',
    ),
  },
  privacy: {
    email: choice(
      'everyone',
      ['everyone', 'users', 'self'],
      'Who sees the email of another user in query replies; `everyone` includes clients without a login, as far as `query.anonymous` permits the query. A hidden email is "".',
    ),
    presence: choice(
      'everyone',
      ['everyone', 'users', 'self'],
      'Who sees whether another user is online: `isLogin` in query replies (hidden: false). With `self`, users may subscribe only to their own presence topic.',
    ),
    listing: choice(
      'users',
      ['users', 'admins'],
      'Who may list users without an id, email or user name in the query. With `admins`, others find only themselves.',
    ),
  },
} as const
