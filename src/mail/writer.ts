/** Writes a letter at the moment at which it is sent: then its link and code are made. */
import { normalizeEmail } from '../accounts/email.js'
import type { HeldAddresses } from '../accounts/held-addresses.js'
import type { ProofKind, Proofs } from '../auth/proofs.js'
import type { Locale } from '../core/errors.js'
import type { User } from '../core/model.js'
import type { Users } from '../store/store.js'
import { type Letter, type LetterKind, type Message, PROOF_OF } from './letter.js'
import { LETTER_TEXTS, validFor } from './texts.js'
import { MailError } from './transport.js'

export interface WriterParts {
  readonly users: Pick<Users, 'findUser'>
  readonly proofs: Pick<Proofs, 'make'>
  readonly held: Pick<HeldAddresses, 'find'>
  /** Where browsers reach the pages, without a slash at its end; undefined: letters have no links. */
  readonly baseUrl: () => string | undefined
  /** Of accounts without one. */
  readonly locale: Locale
  /** How long proofs are good, ms. */
  readonly lifetimesMs: Readonly<Record<ProofKind, number>>
}

/** The page of each. */
const PAGE_OF: Readonly<Record<ProofKind, string>> = {
  reset: 'reset',
  verify: 'verify',
  change: 'verify',
  undo: 'undo',
}

/**
 * @param isWanted whether the letter was not taken back meanwhile
 * @returns undefined if there is nothing to say any more: see isPointless
 * @throws MailError if it could go only to another address
 */
export async function writeLetter(
  parts: WriterParts,
  letter: Letter,
  isWanted: () => boolean = () => true,
): Promise<Message | undefined> {
  const user = await parts.users.findUser(letter.userId)
  if (user === undefined || (await isPointless(parts, letter, user))) return undefined
  const to = letter.to ?? user.email
  if (isChangedOnTheWay(to)) throw new MailError('EADDRESS', true)
  const locale = user.language ?? parts.locale
  const filled = await fill(parts, letter.kind, { user, to, locale, isWanted })
  return filled && { to, ...filled }
}

/**
 * A header ends with a line, and nodemailer puts a blank in place of an angle bracket: the letter would go to somebody else.
 * Addresses that were registered here may have such brackets, between quotes.
 */
const isChangedOnTheWay = (address: string): boolean =>
  /[\p{Cc}\u2028\u2029<>]/u.test(address) || address.trim() !== address

/** The account is disabled, its address was verified meanwhile, or the change of its address was taken back. */
async function isPointless({ held }: WriterParts, { kind, to }: Letter, user: User): Promise<boolean> {
  if (user.disabledAt !== undefined) return true
  if (kind === 'verify') return user.verifiedAt !== undefined
  if (kind !== 'email-changed') return false
  return (await held.find(normalizeEmail(to ?? '')))?.userId !== user.id
}

interface Addressee {
  readonly user: User
  readonly to: string
  readonly locale: Locale
  readonly isWanted: () => boolean
}

async function fill(parts: WriterParts, kind: LetterKind, { user, to, locale, isWanted }: Addressee) {
  const text = LETTER_TEXTS[locale][kind]
  const proofKind = PROOF_OF[kind]
  if (proofKind === undefined)
    return { subject: text.subject, ...layOut(locale, [text.lead], [text.otherwise]) }
  const lifetimeMs = parts.lifetimesMs[proofKind]
  const proof = await parts.proofs.make(user.id, proofKind, { email: to, lifetimeMs, isWanted })
  if (proof === undefined) return undefined
  const { token, code } = proof
  const base = parts.baseUrl()
  const link = base && `${base}/account/${PAGE_OF[proofKind]}?lang=${locale}&token=${token}`
  const after = [validFor(locale, lifetimeMs), text.otherwise]
  const ways = { ...(link && { link, button: text.button }), ...(text.code && { code, ask: text.code }) }
  return { subject: text.subject, ...layOut(locale, [text.lead], after, ways) }
}

interface Ways {
  readonly link?: string | undefined
  readonly button?: string | undefined
  readonly ask?: string | undefined
  readonly code?: string | undefined
}

/** Both forms say the same. HTML without pictures and without anything that is fetched. */
function layOut(locale: Locale, before: readonly string[], after: readonly string[], ways: Ways = {}) {
  const { link, button, ask, code } = ways
  const lines = [
    ...before,
    ...(link !== undefined ? [`${button}:\n${link}`] : []),
    ...(code !== undefined ? [`${ask}\n${code}`] : []),
    ...after,
  ]
  const paragraphs = [
    ...before.map(escapeHtml),
    ...(link !== undefined ? [`<a href="${escapeHtml(link)}">${escapeHtml(button ?? link)}</a>`] : []),
    ...(code !== undefined ? [`${escapeHtml(ask ?? '')}<br><b><code>${escapeHtml(code)}</code></b>`] : []),
    ...after.map(escapeHtml),
  ]
  const body = paragraphs.map(paragraph => `<p>${paragraph}</p>`).join('\n')
  return {
    text: `${lines.join('\n\n')}\n`,
    html: `<!doctype html>\n<html lang="${locale}"><meta charset="utf-8">\n${body}\n</html>\n`,
  }
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, char => ENTITIES[char] ?? char)
