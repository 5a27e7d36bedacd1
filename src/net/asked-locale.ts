import type { Locale } from '../core/errors.js'

/** The language that a WebSocket client asks for with `?lang=en`. @param path path and query of its upgrade request */
export function askedLocale(path = '/'): Locale | undefined {
  const [, query] = path.split('?')
  const lang = new URLSearchParams(query).get('lang')
  return lang === 'en' || lang === 'zh-TW' ? lang : undefined
}
