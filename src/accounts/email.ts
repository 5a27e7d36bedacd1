/** What an email address is, and the form in which addresses are compared. */
import { domainToASCII } from 'node:url'
import isEmail from 'validator/lib/isEmail.js'
import { GatewayError } from '../core/errors.js'
import { LENGTHS } from '../core/model.js'

/** domainToASCII parses a URL's host: it stops at these characters and ignores what follows (WHATWG URL, 4.4). */
const URL_SYNTAX = /[\s/?#\\@:%[\]]/

/**
 * The form in which emails are compared: NFC, lower case, the domain in ASCII (RFC 5890). '' if it is not an address.
 */
export function normalizeEmail(email: string): string {
  // Checked before NFC and IDNA, whose time grows faster than the length.
  if (email.length > LENGTHS.email) return ''
  const text = email.normalize('NFC')
  const at = text.lastIndexOf('@')
  const host = text.slice(at + 1)
  const domain = URL_SYNTAX.test(host) ? '' : domainToASCII(host)
  return at > 0 && domain !== '' ? `${text.slice(0, at).toLowerCase()}@${domain}` : ''
}

/** Both forms of the address of a new account. @throws GatewayError BAD_FIELD (email) if it is not one */
export function addressOf(email: string): { readonly email: string; readonly emailKey: string } {
  // The library checks the lengths of RFC 5321, 4.5.3.1, too.
  const isGood = email.length <= LENGTHS.email && isEmail.default(email)
  const emailKey = isGood ? normalizeEmail(email) : ''
  if (emailKey === '')
    throw new GatewayError('BAD_FIELD', { field: 'email', reason: 'is not an email address' })
  return { email, emailKey }
}
