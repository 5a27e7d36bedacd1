import type { Locale } from '../core/errors.js'

/** The language that a client prefers (RFC 9110, 12.5.4) of those that there are: the first that it names. */
export function preferredLocale(header: string | undefined, otherwise: Locale): Locale {
  const [, first] = /(?:^|[\s,])(en|zh)(?=[-;,\s]|$)/i.exec((header ?? '').slice(0, 256)) ?? []
  if (first === undefined) return otherwise
  return first.toLowerCase() === 'en' ? 'en' : 'zh-TW'
}
