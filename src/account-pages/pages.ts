/**
 * The pages below /account, for people with nothing but a browser. A GET changes nothing, whatever its link: mail scanners open
 * links. What a link is good for is done by the button of its page.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { ownerOf, type ProofKind } from '../auth/proofs.js'
import type { Locale } from '../core/errors.js'
import type { OnFault } from '../core/faults.js'
import type { Metrics } from '../core/metrics.js'
import type { Services } from '../handle/services.js'
import { isRead, pathOf, type Route } from '../http/answers.js'
import { preferredLocale } from '../http/language.js'
import { ACTIONS, type Action, type Values } from './actions.js'
import { ask, type Outcome, type Visitor } from './ask.js'
import { FormMarks, isFromElsewhere, readForm } from './forms.js'
import { type Page, SCRIPT_NAME, sendPage, sendScript } from './html.js'
import type { Word } from './words.js'

export interface PagesOptions {
  readonly services: Services
  readonly metrics: Pick<Metrics, 'answered'>
  /** Of browsers that name no language that there is. */
  readonly locale: Locale
  readonly onFault: OnFault
}

const ROOT = '/account'

/** Of pages whose path is not their word. */
const PATHS: Readonly<Partial<Record<Word, string>>> = {
  secondFactor: 'second-factor',
  appPassword: 'app-password',
  recoveryCodes: 'recovery-codes',
  secondFactorOff: 'second-factor-off',
}

/** @param path `/account`, or with a slash at its end: links are relative */
const index = (path: string): Page => {
  const folder = path.endsWith('/') ? '' : 'account/'
  return {
    title: 'account',
    links: (
      [
        'forgot',
        'verify',
        'passkeys',
        'secondFactor',
        'appPassword',
        'recoveryCodes',
        'secondFactorOff',
      ] as const
    ).map(text => ({ to: `${folder}${PATHS[text] ?? text}`, text })),
  }
}

const NO_PAGE: Page = { status: 404, title: 'account', alert: 'noPage' }

export function accountPages(options: PagesOptions): Route {
  const pages = new AccountPages(options)
  return (request, response, address) => {
    const path = pathOf(request)
    if (path !== ROOT && !path.startsWith(`${ROOT}/`)) return false
    pages.answer(request, response, address).catch(thrown => {
      options.onFault('http.request', thrown)
      response.destroy()
    })
    return true
  }
}

class AccountPages {
  readonly #marks = new FormMarks()

  constructor(private readonly options: PagesOptions) {}

  async answer(
    request: IncomingMessage,
    response: ServerResponse,
    address: string | undefined,
  ): Promise<void> {
    const name = pathOf(request).slice(ROOT.length + 1)
    const action = Object.hasOwn(ACTIONS, name) ? ACTIONS[name] : undefined
    const isPost = request.method === 'POST'
    // Before anything is awaited: see readForm.
    const form = isPost && action !== undefined ? readForm(request) : undefined
    const query = new URLSearchParams((request.url ?? '').split('?')[1] ?? '')
    const values = isPost ? await form : query
    const locale = this.#localeOf(request, values ?? query)
    const say = (page: Page) => sendPage(response, locale, page)
    if (!isPost && !isRead(request)) {
      response.setHeader('Allow', 'GET, HEAD, POST')
      return say({ ...NO_PAGE, status: 405 })
    }
    if (name === SCRIPT_NAME && !isPost) return sendScript(response)
    if (action === undefined)
      return say(name === '' && !isPost ? withOther(index(pathOf(request)), locale, query) : NO_PAGE)
    if (values === undefined) {
      // The rest of such a body is not read.
      response.shouldKeepAlive = false
      return say({ ...NO_PAGE, status: 400, alert: 'missing' })
    }
    const visitor = { locale, address, hasLeft: () => response.destroyed }
    const value: Values = field => values.get(field) ?? ''
    // What comes behind another page takes nothing of an address.
    const kept = action.behind === undefined ? query : new URLSearchParams()
    if (!isPost) return say(withOther(await this.#opened(action, value, address), locale, kept))
    say(await this.#posted(action, value, { request, visitor }))
  }

  #localeOf({ headers }: IncomingMessage, values: URLSearchParams): Locale {
    const asked = values.get('lang')
    if (asked === 'en' || asked === 'zh-TW') return asked
    return preferredLocale(headers['accept-language'], this.options.locale)
  }

  /** A link that is good no more is told now, and not after somebody has thought of a new password. */
  async #opened(action: Action, value: Values, address: string | undefined): Promise<Page> {
    const { behind, kinds } = action
    if (behind !== undefined) return ACTIONS[behind]?.page(() => '', this.#marks.make(address)) ?? NO_PAGE
    const token = value('token')
    const isGood = kinds === undefined || token === '' || (await this.#isGood(token, kinds))
    const page = action.page(value, this.#marks.make(address))
    const isLinkNeeded = kinds?.includes('undo') && token === ''
    if (isLinkNeeded) return { title: page.title, status: 403, alert: 'linkNeeded' }
    return isGood ? page : { title: page.title, status: 403, alert: 'badLink' }
  }

  async #isGood(token: string, kinds: readonly ProofKind[]): Promise<boolean> {
    return ownerOf(token) !== undefined && this.options.services.proofs.isGood(token, kinds)
  }

  async #posted(
    action: Action,
    value: Values,
    { request, visitor }: { readonly request: IncomingMessage; readonly visitor: Visitor },
  ): Promise<Page> {
    const again = (alert: Word, status: number): Page => ({
      ...action.page(value, this.#marks.make(visitor.address)),
      alert,
      status,
    })
    if (isFromElsewhere(request)) return again('foreign', 403)
    if (action.isMarked && !this.#marks.isGood(value('mark'), visitor.address)) return again('oldForm', 403)
    const isSetting = action.fields.includes('newPassword')
    if (isSetting && value('newPassword') !== value('repeat')) return again('different', 400)
    const filled = action.fields.filter(field => value(field) !== '')
    const data = {
      ...Object.fromEntries(filled.map(field => [field, value(field)])),
      ...action.more?.(value),
    }
    const outcome = await ask(this.options, visitor, action.request, data)
    if (outcome.code === 'SUCCESS') return action.done(value, outcome.data)
    const { alert, status } = wordsOf(outcome)
    return again(alert, status)
  }
}

/** A link to the same page in the other language. */
function withOther(page: Page, locale: Locale, query: URLSearchParams): Page {
  const other = new URLSearchParams(query)
  other.set('lang', locale === 'en' ? 'zh-TW' : 'en')
  return { ...page, other: `?${other}` }
}

/** By the field that is wrong; without one it is address or password, and nobody is told which. */
const REFUSED: Readonly<Record<string, Word>> = {
  code: 'badCode',
  secret: 'oldSecret',
  passkey: 'badPasskey',
  '': 'badLogin',
}

/** What a person is told of a refusal. */
function wordsOf({ code, info }: Outcome): { readonly alert: Word; readonly status: number } {
  switch (code) {
    case 'ERROR_AUTH':
      return { alert: REFUSED[info?.field ?? ''] ?? 'badLink', status: 403 }
    case 'SECOND_FACTOR_REQUIRED':
      return { alert: 'codeNeeded', status: 403 }
    case 'ACCOUNT_DISABLED':
      return { alert: 'disabled', status: 403 }
    case 'EMAIL_UNVERIFIED':
      return { alert: 'unverified', status: 403 }
    case 'ERROR_EXIST_USER':
      return { alert: 'taken', status: 409 }
    case 'BAD_FIELD':
    case 'TOO_LARGE':
      return { alert: fieldWords(info?.field, info?.reason), status: 400 }
    case 'FORBIDDEN':
      return { alert: info?.reason?.startsWith('no passkeys') ? 'noPasskeys' : 'leaving', status: 403 }
    case 'TOO_MANY_ATTEMPTS':
      return { alert: info?.field === 'code' ? 'tooManyCodes' : 'tooMany', status: 429 }
    case 'TOO_MANY_LETTERS':
      return { alert: 'tooMany', status: 429 }
    default:
      return { alert: 'later', status: 503 }
  }
}

function fieldWords(field: string | undefined, reason: string | undefined): Word {
  if (field?.startsWith('passkey')) return 'badPasskey'
  if (reason === 'is missing' || reason === 'must not be empty') return 'missing'
  if (field === undefined) return reason?.endsWith('passkeys') ? 'manyPasskeys' : 'notOn'
  if (field === 'password') return 'badLogin'
  if (field === 'name') return 'badName'
  if (field === 'newPassword') return 'badPassword'
  return field === 'email' ? 'badEmail' : field === 'token' ? 'badLink' : 'badCode'
}
