/** The form of all pages: one style, nothing from elsewhere, and no script but on the page that makes a passkey. */
import { createHash, randomBytes } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import type { Locale } from '../core/errors.js'
import { escapeHtml } from '../http/html.js'
import { SCRIPT, SCRIPT_NAME } from './passkeys-script.js'
import { WORDS, type Word } from './words.js'

export { SCRIPT_NAME }

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

const policy = (scripts: string) =>
  `default-src 'none'; ${scripts}style-src 'sha256-${STYLE_HASH}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'`

/** Two policies, and a script must suit both: the origin has files of users, too, so that ours is the one with the nonce. */
const scriptPolicy = (nonce: string) => `${policy("script-src 'self'; ")}, script-src 'nonce-${nonce}'`

/** What browsers do with a page: no script, no frame, nothing kept, and no word to others of an address with a link's secret. */
const HEADERS = {
  'Content-Type': 'text/html; charset=utf-8',
  'Content-Security-Policy': policy(''),
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
  /** The button is there once for each of these, with its value in the field `name`. Enter in a field presses none. */
  readonly choices?: { readonly name: string; readonly of: readonly Choice[] }
  /** PublicKeyCredentialCreationOptionsJSON: passkeys-script.ts makes the passkey and sends the form. */
  readonly options?: unknown
}

export interface Choice {
  readonly value: string
  readonly text: string
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
  const { status = 200 } = page
  const isScripted = page.forms?.some(({ options }) => options !== undefined) ?? false
  const nonce = isScripted ? randomBytes(16).toString('base64url') : undefined
  const body = render(locale, page, nonce)
  const retry = status === 429 || status === 503 ? { 'Retry-After': 60 } : {}
  const about = {
    ...HEADERS,
    ...(nonce !== undefined && { 'Content-Security-Policy': scriptPolicy(nonce) }),
    ...retry,
    'Content-Language': locale,
    'Content-Length': Buffer.byteLength(body),
  }
  response.writeHead(status, about).end(body)
}

export function sendScript(response: ServerResponse): void {
  response
    .writeHead(200, {
      'Content-Type': 'text/javascript; charset=utf-8',
      'Content-Length': Buffer.byteLength(SCRIPT),
      'X-Content-Type-Options': 'nosniff',
      'Cross-Origin-Resource-Policy': 'same-origin',
      'Cache-Control': 'no-cache',
    })
    .end(SCRIPT)
}

function render(locale: Locale, page: Page, nonce: string | undefined): string {
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
  // Relative, as the actions of forms are.
  const script = nonce === undefined ? '' : `<script src="${SCRIPT_NAME}" nonce="${nonce}" defer></script>`
  return `<!doctype html>
<html lang="${locale}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${say(title)}</title><style>${STYLE}</style>${script}</head>
<body><main>
${parts.join('\n')}
</main></body></html>
`
}

function renderForm(locale: Locale, { action, fields, button, choices, options }: Form): string {
  const all = [...fields, { name: 'lang', value: locale }]
  const inputs = all.map((field, index) => renderField(locale, field, `${action}-${index}`))
  const say = (word: Word) => escapeHtml(WORDS[locale][word])
  const submit =
    choices === undefined ? `<button>${say(button)}</button>` : renderChoices(choices, say(button))
  const form = (about: string) =>
    `<form method="post" action="${action}"${about}>${inputs.join('')}${submit}</form>`
  if (options === undefined) return form('')
  return `${form(` data-options="${escapeHtml(JSON.stringify(options))}"`)}
<p role="alert" hidden>${say('noPasskeyMade')}</p><noscript><p>${say('scriptNeeded')}</p></noscript>`
}

/** Enter presses the first button of a form (HTML, 4.10.21.2), or none where that is disabled. */
function renderChoices({ name, of }: NonNullable<Form['choices']>, button: string): string {
  const rows = of.map(({ value, text }) => {
    const told = escapeHtml(text)
    return `<p>${told} <button name="${name}" value="${escapeHtml(value)}" aria-label="${button}: ${told}">${button}</button></p>`
  })
  return `<button hidden disabled></button>${rows.join('')}`
}

function renderField(locale: Locale, field: Field, id: string): string {
  const { name, label, type = 'text', autocomplete = 'off', value = '', isOptional } = field
  const kept = `name="${name}" value="${escapeHtml(value)}"`
  if (label === undefined) return `<input type="hidden" ${kept}>`
  const text = escapeHtml(WORDS[locale][label])
  return `<label for="${id}">${text}</label><input id="${id}" type="${type}" ${kept} autocomplete="${autocomplete}"${isOptional ? '' : ' required'}>`
}
