/** Accounts, their inboxes, and how they log in. See schema.ts. */
import { bytes, choice, count, duration, optional, secretUrl, text, userIds } from '../formats.js'

export const ACCOUNTS = {
  accounts: {
    broadcast: choice(
      'users',
      ['users', 'admins', 'off'],
      'Who may send broadcasts, devices being users: everyone who is logged in, admins (`roles.admins`), nobody. Others are answered 10110.',
    ),
  },
  request: {
    unknownFields: choice(
      'refuse',
      ['refuse', 'ignore'],
      'A field that no request has: answered 10101, or passed over.',
    ),
  },
  inbox: {
    maxMessages: count(
      1_000_000,
      { min: 1 },
      'Messages kept in one inbox. Beyond it the oldest go that all devices of the account have confirmed (those seen within `devices.expiry`). What is not confirmed stays, and new messages are answered 10126: one sender may have 2 × (room left)² / `inbox.maxMessages` of them there, half of the inbox at most, and less the fuller it is.',
    ),
    maxBytes: bytes(
      '1GiB',
      { min: '64KiB' },
      'The same in bytes of their text; not confirmed ones count by characters.',
    ),
    maxAge: duration('0', {}, 'Messages older than this go, confirmed or not. 0: kept for ever.'),
    maxWaitingBytes: bytes(
      '64MiB',
      { min: '1MiB' },
      'Bytes of messages that wait to be stored. One sender may have as many of them as are left for others, so that the rest get through: more is answered 10127, and a device that sends more is read later.',
    ),
    batchBytes: bytes(
      '8MiB',
      { min: '64KiB', max: '256MiB' },
      'Bytes of messages in one commit, of which broadcasts and who sends much get an eighth: what comes meanwhile waits for that long. One message is always let through.',
    ),
  },
  devices: {
    expiry: duration(
      '90d',
      {},
      'The place in the inbox of a device that stayed away longer is forgotten. 0: never.',
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
      'Passwords hashed at one time, each in a thread of low priority. 0: one less than there are cores, at least one, so that logins do not slow messages down.',
    ),
    queue: count(
      1000,
      { min: 1 },
      'Logins and registrations that wait for that; one more is answered 10001.',
    ),
    minLength: count(
      1,
      { min: 1, max: 64 },
      'Characters that a new password must have; a shorter one is answered 10101. 8 suits a public server, 1 keeps every old client working.',
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
      'How long an access token logs in. A connection that it let in lives on.',
    ),
    refreshLifetime: duration(
      '30d',
      { min: '1s' },
      'How long a refresh token is good; each use gives a new one, good for as long again.',
    ),
    refreshGrace: duration(
      '5s',
      { max: '1m' },
      'For so long after its first use a refresh token that is used again gives the same pair: two tabs of a browser refresh at once. A thief’s use in that time is not noticed. 0: never.',
    ),
    keyLifetime: duration(
      '30d',
      {},
      'Age at which the key that signs tokens is replaced by a new one; it verifies until its last token has expired. 0: never.',
    ),
    perAccount: count(
      100,
      { min: 1, max: 10_000 },
      'Sessions with tokens and device credentials of one account; for one more, the one not seen for longest goes.',
    ),
  },
  jwt: {
    jwksUrl: secretUrl(
      '',
      'Where the public keys of another issuer are, whose JWTs log in, too. Empty: nowhere.',
    ),
    publicKeyFile: optional(
      '',
      'The same as a file: one public key or certificate as PEM. Empty: none. Not together with `jwt.jwksUrl`.',
    ),
    issuer: optional('', 'The `iss` that such a token must have; needed with either.'),
    audience: optional('', 'The `aud` that it must have; needed with either.'),
    leeway: duration(
      '1m',
      { max: '10m' },
      'How far the issuer’s clock may be from ours: a token is taken so long before its `nbf` and after its `exp`.',
    ),
    claim: text('sub', 'The claim that names the user, who must have an account here.'),
    user: choice(
      'id',
      ['id', 'email'],
      'What that claim is. `email` needs the claim `email_verified` to be true. Nobody here checks that an address is its owner’s: with `email`, close registration to strangers.',
    ),
  },
  roles: {
    admins: userIds(
      '',
      'Ids of accounts with the role `admin`, separated by commas: they see and revoke sessions of all, and have what `mqtt.acl` grants that role.',
    ),
  },
  privacy: {
    email: choice(
      'everyone',
      ['everyone', 'users', 'self'],
      'Who sees the address of another user in query replies; `everyone`: also before login, as far as `query.anonymous` lets ask. Hidden, it is "".',
    ),
    presence: choice(
      'everyone',
      ['everyone', 'users', 'self'],
      'Who learns whether another user is online: `isLogin` in query replies (hidden: false), and with `self` the presence topics are one’s own only.',
    ),
    listing: choice(
      'users',
      ['users', 'admins'],
      'Who may list users without naming an id, email or user name; with `admins`, others find themselves only.',
    ),
  },
} as const
