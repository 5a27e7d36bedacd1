/** The form of all pages: one style, no script, nothing from elsewhere. */
import { createHash } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import type { Locale } from '../core/errors.js'
import { escapeHtml } from '../http/html.js'
import { WORDS, type Word } from './words.js'

const STYLE = `body{font:1.1rem/1.6 system-ui,sans-serif;margin:0;background:#f4f4f6;color:#1b1b1f}
main{max-width:26rem;margin:2rem auto;padding:1.5rem 2rem;background:#fff;border-radius:.6rem}
h1{font-size:1.4rem;margin:0 0 1rem}label{display:block;margin:1rem 0 .2rem}
input{font:inherit;width:100%;box-sizing:border-box;padding:.5rem;border:1px solid #777;border-radius:.3rem}
button{font:inherit;margin:1.4rem 0 .4rem;padding:.5rem 1.2rem;border:0;border-radius:.3rem;background:#274690;color:#fff}
a{color:#274690}code{font-size:1.05rem;overflow-wrap:anywhere}
.picture{background:#fff;width:14rem;margin:1rem auto}p[role=alert]{padding:.6rem;border-left:.3rem solid #a11;background:#fdecec}
@media(prefers-color-scheme:dark){body{background:#17171a;color:#eee}main{background:#242429}
input{background:#17171a;color:#eee}button{background:#8fb1ff;color:#111}a{color:#8fb1ff}p[role=alert]{background:#4a1c1c}}`

const STYLE_HASH = createHash('sha256').update(STYLE).digest('base64')

/** What browsers do with a page: no script, no frame, nothing kept, and no word to others of an address with a link's secret. */
const HEADERS = {
  'Content-Type': 'text/html; charset=utf-8',
  'Content-Security-Policy': `default-src 'none'; style-src 'sha256-${STYLE_HASH}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'`,
  'Referrer-Policy': 'no-referrer',
  'Cache-Control': 'no-store',
  'X-Frame-Options': 'DENY',
  'X-Content-Type-Options': 'nosniff',
  'X-Robots-Tag': 'noindex',
  'Cross-Origin-Opener-Policy': 'same-origin',
} as const

export interface Field {
  readonly name: string
  /** The field's label; undefined: it is hidden. */
  readonly label?: Word
  readonly type?: 'email' | 'password' | 'text'
  readonly autocomplete?: string
  readonly value?: string | undefined
  /** It may stay empty. */
  readonly isOptional?: true
}

export interface Form {
  /** The last part of the path. Relative, so that a proxy may serve the pages below another path. */
  readonly action: string
  readonly fields: readonly Field[]
  readonly button: Word
}

export interface Page {
  readonly status?: number
  readonly title: Word
  readonly lead?: Word
  /** What went wrong. */
  readonly alert?: Word | undefined
  /** An SVG of our own, and what it is. */
  readonly picture?: { readonly svg: string; readonly label: Word }
  /** What somebody is to note down, a line each. */
  readonly secrets?: readonly string[]
  /** Behind the picture and the lines. */
  readonly note?: Word
  readonly forms?: readonly Form[]
  readonly links?: readonly { readonly to: string; readonly text: Word }[]
  /** Where the same page is found in the other language: its path and query. */
  readonly other?: string
}

export function sendPage(response: ServerResponse, locale: Locale, page: Page): void {
  const body = render(locale, page)
  const { status = 200 } = page
  const retry = status === 429 || status === 503 ? { 'Retry-After': 60 } : {}
  const about = {
    ...HEADERS,
    ...retry,
    'Content-Language': locale,
    'Content-Length': Buffer.byteLength(body),
  }
  response.writeHead(status, about).end(body)
}

function render(locale: Locale, page: Page): string {
  const { title, lead, alert, picture, secrets = [], note, forms = [], links = [], other } = page
  const say = (word: Word) => escapeHtml(WORDS[locale][word])
  const parts = [
    `<h1>${say(title)}</h1>`,
    ...(alert === undefined ? [] : [`<p role="alert">${say(alert)}</p>`]),
    ...(lead === undefined ? [] : [`<p>${say(lead)}</p>`]),
    ...(picture === undefined
      ? []
      : [`<div class="picture" role="img" aria-label="${say(picture.label)}">${picture.svg}</div>`]),
    ...(secrets.length === 0
      ? []
      : [`<p>${secrets.map(line => `<code>${escapeHtml(line)}</code>`).join('<br>')}</p>`]),
    ...(note === undefined ? [] : [`<p>${say(note)}</p>`]),
    ...forms.map(form => renderForm(locale, form)),
    ...links.map(({ to, text }) => `<p><a href="${escapeHtml(to)}">${say(text)}</a></p>`),
    ...(other === undefined ? [] : [`<p><a href="${escapeHtml(other)}">${say('otherLanguage')}</a></p>`]),
  ]
  return `<!doctype html>
<html lang="${locale}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${say(title)}</title><style>${STYLE}</style></head>
<body><main>
${parts.join('\n')}
</main></body></html>
`
}

function renderForm(locale: Locale, { action, fields, button }: Form): string {
  const all = [...fields, { name: 'lang', value: locale }]
  const inputs = all.map((field, index) => renderField(locale, field, `${action}-${index}`))
  const submit = `<button>${escapeHtml(WORDS[locale][button])}</button>`
  return `<form method="post" action="${action}">${inputs.join('')}${submit}</form>`
}

function renderField(locale: Locale, field: Field, id: string): string {
  const { name, label, type = 'text', autocomplete = 'off', value = '', isOptional } = field
  const kept = `name="${name}" value="${escapeHtml(value)}"`
  if (label === undefined) return `<input type="hidden" ${kept}>`
  const text = escapeHtml(WORDS[locale][label])
  return `<label for="${id}">${text}</label><input id="${id}" type="${type}" ${kept} autocomplete="${autocomplete}"${isOptional ? '' : ' required'}>`
}
