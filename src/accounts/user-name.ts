/**
 * What a user name is: RFC 8265's UsernameCaseMapped, narrower in what ASCII signs it has, and wider in that NFKC maps what
 * that profile refuses. Letters keep their case for others to read; it makes no difference to whose the name is, and neither
 * does what looks the same (UTS 39).
 */
import { createHash } from 'node:crypto'
import { createRequire } from 'node:module'
import type unhomoglyph from 'unhomoglyph'
import { GatewayError } from '../core/errors.js'
import type { User } from '../core/model.js'
import { normalizeEmail } from './email.js'

export interface UserName {
  /** As others read it. */
  readonly shown: string
  /** The same for all spellings of one name. */
  readonly folded: string
  /** Digests of what the name looks like, the first of its folded form. No two accounts may have one in common. */
  readonly keys: readonly [string, ...string[]]
  /** The same of the name without what one adds to a name that is taken: signs between, and digits at its end. */
  readonly bareKeys: readonly string[]
}

/** UTF-16 units of what comes: NFKC may make 18 of one, and is not done for more. */
const MAX_UNITS = 64
/** Code points. */
const MIN_LENGTH = 2
const MAX_LENGTH = 32
const MAX_BYTES = 128

/** RFC 8264, 9.1 (LetterDigits) and what of ASCII7 is good in topics, URLs and addresses. */
const ALLOWED = /^[\p{Ll}\p{Lu}\p{Lo}\p{Lm}\p{Mn}\p{Mc}\p{Nd}._-]+$/u
/** Of these: RFC 8264, 9.6 (exceptions), 9.9 (old Hangul) and 9.13 (ignorable); ASCII alone is meant by `._-` and no other sign. */
const FORBIDDEN =
  /[\p{Default_Ignorable_Code_Point}\u0640\u07FA\u1100-\u11FF\u302E\u302F\u3031-\u3035\u303B\uA960-\uA97F\uD7B0-\uD7FF]/u
const BEGINS = /^[\p{L}\p{Nd}]/u
const ENDS = /[\p{L}\p{M}\p{Nd}]$/u
/** UTS 39, 5.4: more marks than any language puts on a letter. */
const MARKS = /\p{M}{5}/u
/** Scripts whose marks are those below; of others, marks are letters, or points that only their readers know. */
const WESTERN = '\\p{sc=Latin}\\p{sc=Greek}\\p{sc=Cyrillic}\\p{sc=Armenian}\\p{sc=Georgian}\\p{sc=Common}'
/**
 * The marks that NFC composes some letter with. Others strike a letter out, underline it, or are of another script and cannot be
 * seen: the name would look like one without them.
 */
const COMPOSING =
  '\\u0300-\\u0304\\u0306-\\u030C\\u030F\\u0311\\u0313\\u0314\\u031B\\u0323-\\u0328\\u032D\\u032E\\u0330\\u0331\\u0342\\u0345'
const ODD_MARK = new RegExp(`[${WESTERN}]\\p{M}*(?=\\p{M})[^${COMPOSING}]`, 'u')
/** Khitan's filler and its like: marks of scripts that nobody writes names in, blank on most screens. */
const BLANK_MARK = /\p{sc=Khitan_Small_Script}/u
/** A dot on what has one already, or on the letter that differs by it alone. */
const SECOND_DOT = /(?<=[\p{Soft_Dotted}\u0131\u0237]\p{M}*)\u0307/gu
/** Digits of any script: a mistyped user id must be nobody's name. */
const DIGITS = /^\p{Nd}+$/u
/** How a user id looks: 0 is like o, and 1 like l. */
const LIKE_USER_ID = /^[lo2-9]{9}$/
/** Arabic-Indic digits of both kinds (RFC 8264, A.8 and A.9). */
const ARABIC = /[\u0660-\u0669]/
const EXTENDED_ARABIC = /[\u06F0-\u06F9]/

/** Where letters are of Bidi_Class R or AL (DerivedBidiClass.txt: the defaults of these blocks). */
const RIGHT = '\\u0590-\\u08FF\\uFB1D-\\uFDFF\\uFE70-\\uFEFF\\u{10800}-\\u{10FFF}\\u{1E800}-\\u{1EFFF}'
const HAS_RIGHT = new RegExp(`[${RIGHT}]`, 'u')
const RIGHT_LETTER = new RegExp(`^(?=\\p{L})[${RIGHT}]`, 'u')
const LEFT_LETTER = new RegExp(`(?=\\p{L})[^${RIGHT}]`, 'u')
const EUROPEAN = /[0-9\u06F0-\u06F9]/

/** @throws GatewayError BAD_FIELD (username) with what is wrong */
export function userNameOf(text: string): UserName {
  const read = readUserName(text)
  if (typeof read === 'string') throw new GatewayError('BAD_FIELD', { field: 'username', reason: read })
  return read
}

/** @returns undefined for what cannot be a user name */
export function maybeUserName(text: string): UserName | undefined {
  const read = readUserName(text)
  return typeof read === 'string' ? undefined : read
}

/** Whether two texts are spellings of one name. */
export const isSameUserName = (a: string, b: string): boolean => {
  const name = maybeUserName(a)
  return name !== undefined && name.folded === maybeUserName(b)?.folded
}

/** Whether an account may be called so. @param name email, user id or user name */
export const isNameOf = (
  { id, emailKey, username }: Pick<User, 'id' | 'emailKey' | 'username'>,
  name: string,
): boolean => id === name || emailKey === normalizeEmail(name) || isSameUserName(username, name)

/** @returns the name, or what is wrong with it */
function readUserName(text: string): UserName | string {
  if (text.length > MAX_UNITS) return `is longer than ${MAX_LENGTH} characters`
  const shown = text.normalize('NFKC')
  const length = [...shown].length
  if (length < MIN_LENGTH) return `is shorter than ${MIN_LENGTH} characters`
  if (length > MAX_LENGTH) return `is longer than ${MAX_LENGTH} characters`
  if (Buffer.byteLength(shown) > MAX_BYTES) return `is longer than ${MAX_BYTES} bytes`
  if (!ALLOWED.test(shown) || FORBIDDEN.test(shown)) return 'may have letters, digits, "." "_" and "-" only'
  if (!BEGINS.test(shown) || !ENDS.test(shown)) return 'must begin and end with a letter or digit'
  if (MARKS.test(shown.normalize('NFD'))) return 'has too many marks on one letter'
  if (ODD_MARK.test(shown.normalize('NFD')) || BLANK_MARK.test(shown))
    return 'has a mark that no language puts on its letter'
  if (ARABIC.test(shown) && EXTENDED_ARABIC.test(shown)) return 'has digits of two kinds'
  if (isMixedDirection(shown)) return 'mixes directions of writing'
  const folded = shown.toLowerCase().normalize('NFKC')
  const [looks, other] = [lookOf(folded), lookOf(shown)]
  if (DIGITS.test(shown) || LIKE_USER_ID.test(looks) || LIKE_USER_ID.test(other))
    return 'looks like a user id'
  // The first is that by which names are found, so what is folded further has a key of its own.
  const keys = [...new Set([looks, other, looks.replaceAll('vv', 'w')])].map(digestOf)
  const bareKeys = [folded, shown].map(name => digestOf(lookOf(bare(name))))
  return { shown, folded, keys: keys as [string, ...string[]], bareKeys }
}

const bare = (name: string): string => name.replace(/[._-]/g, '').replace(/\p{Nd}+$/u, '')

/**
 * RFC 5893, 2, for the characters that are left: in a name with letters or digits from right to left, all letters are
 * such, one comes first, and digits are of one kind.
 */
function isMixedDirection(text: string): boolean {
  if (!HAS_RIGHT.test(text)) return false
  return !RIGHT_LETTER.test(text) || LEFT_LETTER.test(text) || (ARABIC.test(text) && EUROPEAN.test(text))
}

const require = createRequire(import.meta.url)
let table: typeof unhomoglyph | undefined

/** Replaces what looks like another letter. The table is loaded with the first name: that takes 20 ms and 6 MB. */
function toLookAlike(text: string): string {
  table ??= require('unhomoglyph') as typeof unhomoglyph
  return table(text)
}

/** UTS 39, 4: the same text for names that look the same. Lower case, since its table leads to capitals, too: 0 to O. */
function lookOf(text: string): string {
  const once = toLookAlike(plain(text)).normalize('NFD').toLowerCase()
  return plain(toLookAlike(plain(once)).toLowerCase())
}

/** The table has i for its dotless form, and no j. */
const plain = (text: string): string =>
  text.normalize('NFD').replace(SECOND_DOT, '').replaceAll('\u0237', 'j')

/** Keys in the store have one length, and do not tell names that were given up. */
const digestOf = (look: string): string => createHash('sha256').update(`name ${look}`).digest('base64url')
