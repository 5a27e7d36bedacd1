/** The readable form of the document: one page, without script and without anything from elsewhere. */
import { createHash } from 'node:crypto'
import { CODES } from '../core/errors.js'
import { escapeHtml } from '../http/html.js'
import type { Fields } from '../protocol/rest.js'
import { refusedStatuses } from './document.js'
import type { Headers } from './headers.js'
import type { Operation } from './operation.js'
import { SUBJECTS } from './routes/index.js'

const STYLE = `body{font:1rem/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#1b1b1f;background:#fff}
h1{font-size:1.6rem}h2{margin-top:2.5rem;border-bottom:1px solid #bbb}h3{font:600 1rem/1.5 ui-monospace,monospace;margin:1.6rem 0 .2rem}
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.2rem .6rem .2rem 0}code,pre{font-family:ui-monospace,monospace}
pre{background:#f2f2f5;padding:.8rem;overflow:auto}a{color:#274690}:target{background:#fff3c4}
@media(prefers-color-scheme:dark){body{background:#17171a;color:#eee}pre{background:#242429}a{color:#8fb1ff}:target{background:#4a4420}}`

export const PAGE_HEADERS: Headers = {
  'Content-Type': 'text/html; charset=utf-8',
  'Content-Security-Policy': `default-src 'none'; style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'`,
  'Referrer-Policy': 'no-referrer',
  'Cache-Control': 'public, max-age=300',
}

const INTRODUCTION = `<p>Below <code>/api/v1</code>. For programs: <a href="api/openapi.json">OpenAPI 3.1</a>. Bodies and answers are JSON;
refusals are problem details (RFC 9457) with one of the <a href="#codes">codes</a>. A token of <code>POST /login</code> goes into
<code>Authorization: Bearer</code>.</p>
<pre>curl -s $SERVER/api/v1/login --json '{"email":"ann@chat.example","password":"correct horse"}'
curl -s $SERVER/api/v1/messages -H "Authorization: Bearer $TOKEN" \\
  --json '{"recipient":"271693512","content":"hello"}'</pre>`

export function renderPage(): string {
  const subjects = Object.entries(SUBJECTS).map(
    ([name, operations]) => `<h2>${name}</h2>\n${operations.map(renderOperation).join('\n')}`,
  )
  const codes = Object.values(CODES).map(
    ({ code, http, en, when }) =>
      `<tr id="code-${code}"><td>${code}</td><td>${http}</td><td>${escapeHtml(en)}</td><td>${escapeHtml(when)}</td></tr>`,
  )
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>MumiChat Gateway: API</title><style>${STYLE}</style></head>
<body><h1>MumiChat Gateway: API</h1>
${INTRODUCTION}
${subjects.join('\n')}
<h2 id="codes">codes</h2>
<table><tr><th>code</th><th>status</th><th>text</th><th>when</th></tr>
${codes.join('\n')}</table></body></html>
`
}

function renderOperation(one: Operation): string {
  const { method, path, id, summary, status, login, params, query, body, takesKey, matches } = one
  const rows = [
    ...rowsOf('path', params),
    ...rowsOf('query', query),
    ...rowsOf('body', body),
    ...(takesKey ? ['<tr><td>header</td><td><code>Idempotency-Key</code></td><td>text</td></tr>'] : []),
    ...(matches ? ['<tr><td>header</td><td><code>If-Match</code></td><td>ETag</td></tr>'] : []),
  ]
  const token = { needed: 'needs a token', optional: 'may have a token', none: 'without a token' }[login]
  return `<h3 id="${id}">${method} ${escapeHtml(path)}</h3>
<p>${escapeHtml(summary)}. ${token}; answers ${status}, or ${refusedStatuses(one).join(', ')}.</p>
${rows.length > 0 ? `<table>${rows.join('')}</table>` : ''}`
}

const rowsOf = (place: string, fields: Fields | undefined): string[] =>
  Object.entries(fields?.properties ?? {}).map(([name, schema]) => {
    const needed = fields?.required?.includes(name) ? '' : ', optional'
    return `<tr><td>${place}</td><td><code>${escapeHtml(name)}</code></td><td>${escapeHtml(wordsOf(schema))}${needed}</td></tr>`
  })

/** A schema in a few words. */
function wordsOf(schema: Fields['properties'][string]): string {
  const { anyOf, type, maxLength, minimum, maximum, maxItems } = schema
  if (schema.const !== undefined) return JSON.stringify(schema.const)
  if (Array.isArray(anyOf)) return anyOf.map(wordsOf).join(' or ')
  if (type === 'string') return maxLength === undefined ? 'text' : `text of at most ${maxLength}`
  if (type === 'array') return maxItems === undefined ? 'list' : `list of at most ${maxItems}`
  return minimum === undefined ? String(type) : `${type}, ${minimum} to ${maximum}`
}
