/** Codes that people type, in Crockford's base 32: no I, L, O and U, which are taken for others. */
import { randomInt } from 'node:crypto'

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

/** @param length characters, of 5 bits each */
export const randomCode = (length: number): string =>
  Array.from({ length }, () => ALPHABET[randomInt(ALPHABET.length)]).join('')

/** What was typed, with the character that is meant in place of each that looks like it, in upper case. */
export const asMeant = (typed: string): string =>
  typed.toUpperCase().replaceAll('O', '0').replace(/[IL]/g, '1')
