/**
 * Refresh tokens and device credentials: `mr_` or `md_`, then account, login id and secret. A secret is 32 random
 * bytes, and the store keeps only its SHA-256. It cannot be guessed, so a slow hash such as bcrypt would add nothing.
 * App passwords, which people may have to type, are 28 characters of 5 random bits each behind `mumi`.
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { APP_PASSWORD } from '../accounts/password-rules.js'
import { USER_ID, type UserId } from '../core/model.js'
import { asMeant, randomCode } from '../core/typed-code.js'

const SECRET = new RegExp(`^m([rd])_(${USER_ID})_([\\w-]{16})_([\\w-]{43})$`)

export interface Secret {
  /** `token`: a refresh token; `device`: a device's credential. */
  readonly kind: 'token' | 'device'
  readonly userId: UserId
  /** Id of the login. */
  readonly id: string
  /** 32 bytes, base64url. */
  readonly secret: string
}

/** @returns undefined if the text has another form */
export function parseSecret(text: string): Secret | undefined {
  const [, kind, userId, id, secret] = SECRET.exec(text) ?? []
  if (userId === undefined || id === undefined || secret === undefined) return undefined
  return { kind: kind === 'r' ? 'token' : 'device', userId, id, secret }
}

/** The text of a secret, as `parseSecret` reads it. */
export const formatSecret = ({ kind, userId, id, secret }: Secret): string =>
  `${kind === 'token' ? 'mr' : 'md'}_${userId}_${id}_${secret}`

/** Whether a text has the form of a device's credential. */
export const isCredential = (text: string): boolean => parseSecret(text)?.kind === 'device'

export const isAppPassword = (text: string): boolean => APP_PASSWORD.test(text)

/** `mumi-XXXX-XXXX-XXXX-XXXX-XXXX-XXXX-XXXX` */
export const randomAppPassword = (): string => `mumi${randomCode(28).replace(/.{4}/g, '-$&')}`

/** What an app password says, however it was typed: for `digest`. */
export const appSecret = (password: string): string => asMeant(password.slice('mumi'.length))

export const randomSecret = (): string => randomBytes(32).toString('base64url')

/** SHA-256, base64url: the form in which the store keeps a secret. */
export const digest = (secret: string): string => createHash('sha256').update(secret).digest('base64url')

/**
 * The next secret. It needs both the previous secret and the salt, so neither client nor store can make it alone.
 * @param salt base64url
 */
export const successor = (secret: string, salt: string): string =>
  createHmac('sha256', Buffer.from(salt, 'base64url')).update(secret).digest('base64url')

/** Compares two digests in constant time. */
export const isSame = (a: string, b: string | undefined): boolean =>
  b !== undefined && a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b))
