import type { Locale } from '../core/errors.js'

/** The language that a WebSocket client asks for by `?lang=en`. @param path of its upgrade request, with the query */
export function askedLocale(path = '/'): Locale | undefined {
  const [, query] = path.split('?')
  const lang = new URLSearchParams(query).get('lang')
  return lang === 'en' || lang === 'zh-TW' ? lang : undefined
}
