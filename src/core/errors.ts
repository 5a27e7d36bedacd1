/** The one table of codes, the one error class, the one converter. */

export type Locale = 'zh-TW' | 'en'

interface CodeRow {
  /** The number on the wire. Fixed for 200–10011; ours start at 10100. A retired number stays listed. */
  readonly code: number
  readonly 'zh-TW': string
  readonly en: string
  /** Whether the same request may succeed later, unchanged. */
  readonly retry: boolean
  /** WebSocket close code, where answering it also ends the connection: 4000–4499 come back, 4500–4999 do not. */
  readonly close?: number
  /** The level at which it is logged. */
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  /** For docs/protocol.md. */
  readonly when: string
  /** The server sends it no more, or never did. The row stays, so that nobody gives the number another meaning. */
  readonly retired?: true
}

const table = <K extends string>(rows: Record<K, CodeRow>): Readonly<Record<K, CodeRow>> =>
  Object.freeze(rows)

/** Source: the fixed rows are the old server's; the `zh-TW` texts are its own words. */
export const CODES = table({
  SUCCESS: {
    code: 200,
    'zh-TW': '操作成功',
    en: 'success',
    retry: false,
    level: 'debug',
    when: 'An action succeeded.',
  },
  MESSAGE_SUCCESS: {
    code: 201,
    'zh-TW': '訊息發送成功',
    en: 'message sent',
    retry: false,
    level: 'debug',
    when: 'The message is stored.',
  },
  LOGIN_SUCCESS: {
    code: 202,
    'zh-TW': '登入成功',
    en: 'login success',
    retry: false,
    level: 'debug',
    when: 'Logged in; what waited follows.',
  },
  REGISTER_SUCCESS: {
    code: 203,
    'zh-TW': '註冊成功',
    en: 'register success',
    retry: false,
    level: 'debug',
    when: 'The account exists now.',
  },
  BROADCAST_SUCCESS: {
    code: 204,
    'zh-TW': '廣播成功',
    en: 'broadcast success',
    retry: false,
    level: 'debug',
    when: 'Stored for every other user who is online and whose inbox has room.',
  },
  ERROR: {
    code: 500,
    'zh-TW': '操作失敗',
    en: 'failed',
    retry: false,
    level: 'error',
    when: 'Only what the server could not foresee.',
  },
  ERROR_AUTH: {
    code: 10000,
    'zh-TW': '使用者名稱或密碼錯誤',
    en: 'wrong email or password',
    retry: false,
    level: 'info',
    when: 'Wrong, absent or empty email or password: one code for all.',
  },
  ERROR_AUTH_FAILED: {
    code: 10001,
    'zh-TW': '認證失敗請重試',
    en: 'authorize failed',
    retry: true,
    level: 'warn',
    when: 'The check itself failed.',
  },
  ERROR_ADD_USER_FAILED: {
    code: 10002,
    'zh-TW': '使用者創建失敗',
    en: 'register failed',
    retry: true,
    level: 'warn',
    when: 'The account could not be stored.',
  },
  ERROR_EXIST_USER: {
    code: 10003,
    'zh-TW': '使用者已存在',
    en: 'user exists',
    retry: false,
    level: 'info',
    when: 'Email or user name is taken.',
  },
  ERROR_EXIST_USER_FAILED: {
    code: 10004,
    'zh-TW': '查詢使用者失敗',
    en: 'query failed',
    retry: true,
    level: 'warn',
    when: 'The query could not be run.',
  },
  ERROR_MULTIPLE_LOGIN: {
    code: 10005,
    'zh-TW': '使用者已在其他地方登入',
    en: 'multiple login',
    retry: false,
    level: 'info',
    when: 'The account, or this connection, is logged in already.',
  },
  ERROR_MULTIPLE_LOGIN_FAILED: {
    code: 10006,
    'zh-TW': '使用者登入狀態獲取失敗',
    en: 'login state unknown',
    retry: true,
    level: 'warn',
    retired: true,
    when: 'The old server sent it when it could not look up who is logged in. This server always knows.',
  },
  ERROR_UNAUTHORIZED: {
    code: 10007,
    'zh-TW': '請先進行登入',
    en: 'please login first',
    retry: false,
    level: 'info',
    when: 'The request needs a login.',
  },
  ERROR_USER_NOT_ONLINE: {
    code: 10008,
    'zh-TW': '使用者目前不在線上',
    en: 'user is not online',
    retry: true,
    level: 'info',
    when: 'Only where offline delivery is switched off.',
  },
  ERROR_CONNECTION_CLOSED: {
    code: 10009,
    'zh-TW': '連線已關閉',
    en: 'connection closed',
    retry: false,
    close: 4501,
    level: 'info',
    when: 'The server ends this connection: another login took its place, or the account is gone.',
  },
  ERROR_FIND_USER: {
    code: 10010,
    'zh-TW': '找不到使用者',
    en: 'user not found',
    retry: false,
    level: 'info',
    when: 'No such recipient.',
  },
  ERROR_FIND_USER_FAILED: {
    code: 10011,
    'zh-TW': '查詢使用者失敗',
    en: 'query failed',
    retry: true,
    level: 'warn',
    when: 'The recipient could not be looked up.',
  },
  BAD_JSON: {
    code: 10100,
    'zh-TW': '請求不是有效的 JSON 物件',
    en: 'request is not a JSON object',
    retry: false,
    level: 'info',
    when: 'Not JSON, not one object, nested too deep, or a binary frame.',
  },
  BAD_FIELD: {
    code: 10101,
    'zh-TW': '欄位不符規定',
    en: 'bad field',
    retry: false,
    level: 'info',
    when: '`data.field` names the field, `data.reason` says what is wrong with it.',
  },
  UNKNOWN_REQUEST: {
    code: 10102,
    'zh-TW': '未知的請求',
    en: 'unknown request',
    retry: false,
    level: 'info',
    when: 'Unknown `type` or `action`.',
  },
  TOO_LARGE: {
    code: 10103,
    'zh-TW': '內容過長',
    en: 'too large',
    retry: false,
    level: 'info',
    when: 'A field is longer than its limit.',
  },
  STORE_UNAVAILABLE: {
    code: 10104,
    'zh-TW': '儲存暫時無法使用，請重試',
    en: 'store unavailable, try again',
    retry: true,
    level: 'error',
    when: 'The store is closed, failing or too slow. Nothing was stored; or, where MongoDB did not answer in time, it may be: send it again with its `id`.',
  },
  STORE_FULL: {
    code: 10105,
    'zh-TW': '儲存空間已滿，請稍後重試',
    en: 'store full, try again later',
    retry: true,
    level: 'error',
    when: 'Nothing was stored: no room on the disk.',
  },
  SLOW_CLIENT: {
    code: 10106,
    'zh-TW': '接收過慢，連線已關閉',
    en: 'reading too slowly',
    retry: true,
    close: 4008,
    level: 'warn',
    when: 'The client takes nothing; what it has not confirmed comes again.',
  },
  SHUTDOWN: {
    code: 10107,
    'zh-TW': '伺服器正在關閉',
    en: 'server is closing',
    retry: true,
    level: 'info',
    when: 'The server is leaving; nothing was stored.',
  },
  TOO_MANY_ERRORS: {
    code: 10108,
    'zh-TW': '錯誤過多，連線已關閉',
    en: 'too many errors',
    retry: false,
    close: 4500,
    level: 'warn',
    when: 'Too many refused requests in a row on one connection.',
  },
  MESSAGES_DROPPED: {
    code: 10109,
    'zh-TW': '部分訊息已過期刪除',
    en: 'messages dropped',
    retry: false,
    level: 'warn',
    retired: true,
    when: 'Never sent: the event `dropped` says it (section 5).',
  },
  FORBIDDEN: {
    code: 10110,
    'zh-TW': '沒有權限',
    en: 'not allowed',
    retry: false,
    level: 'info',
    when: 'The request is known and you may not make it.',
  },
  RATE_LIMITED: {
    code: 10120,
    'zh-TW': '請求過於頻繁，請稍後重試',
    en: 'too many requests, try again later',
    retry: true,
    level: 'debug',
    when: 'More requests than `limits.requests` (this connection) or `limits.accountRequests` (all of the account), more bytes than `limits.accountBytes` or, of broadcasts, `limits.broadcastBytes`. Nothing was done.',
  },
  TOO_MANY_REGISTRATIONS: {
    code: 10121,
    'zh-TW': '註冊過於頻繁，請稍後重試',
    en: 'too many registrations, try again later',
    retry: true,
    level: 'info',
    when: 'More registrations from this address than `limits.registrations`.',
  },
  TOO_MANY_ATTEMPTS: {
    code: 10122,
    'zh-TW': '登入失敗次數過多，請稍後重試',
    en: 'too many failed logins, try again later',
    retry: true,
    level: 'info',
    when: 'Too many wrong passwords from this address; `data.reason` says how long to wait. The password was not looked at.',
  },
  TOO_MANY_CONNECTIONS: {
    code: 10123,
    'zh-TW': '連線數過多',
    en: 'too many connections',
    retry: true,
    level: 'info',
    when: 'The account has as many connections as `limits.connectionsPerAccount` allows.',
  },
  LOGIN_TIMEOUT: {
    code: 10124,
    'zh-TW': '登入逾時，連線已關閉',
    en: 'not logged in for too long',
    retry: true,
    close: 4010,
    level: 'info',
    when: 'The connection was not logged in and asked for nothing for `limits.loginTimeout`.',
  },
  OVER_LIMITS: {
    code: 10125,
    'zh-TW': '多次超過限制，連線已關閉',
    en: 'over a limit too often',
    retry: true,
    close: 4009,
    level: 'warn',
    when: 'More refusals by a limit within a minute than `limits.warnings`: come back later, and slower.',
  },
  INBOX_FULL: {
    code: 10126,
    'zh-TW': '對方收件匣已滿，請稍後重試',
    en: 'inbox full, try again later',
    retry: true,
    level: 'info',
    when: 'The recipient has not confirmed as many messages as its inbox holds, or as many of yours as one sender may have there (`inbox.maxMessages`). Nothing was stored.',
  },
  OVERLOADED: {
    code: 10127,
    'zh-TW': '伺服器忙碌中，請稍後重試',
    en: 'busy, try again',
    retry: true,
    level: 'info',
    when: 'Too much waits to be stored, and your part of it is large (`inbox.maxWaitingBytes`). Nothing was stored.',
  },
})

export type CodeName = keyof typeof CODES

/** Numbers of the old server are below, ours are not. */
const FIRST_OF_OURS = 10_100

/** Whether old clients know the code. A refusal of theirs carries `data: null`, as the old server's did. */
export const isFixed = (name: CodeName): boolean => CODES[name].code < FIRST_OF_OURS

/** What `data` of a refusal carries: which field, and why; never the field's value. */
export interface ErrorInfo {
  readonly field?: string
  readonly reason?: string
}

/** A refusal of a known kind. Anything else that is thrown is our bug and becomes ERROR (500). */
export class GatewayError extends Error {
  override readonly name = 'GatewayError'
  constructor(
    readonly kind: CodeName,
    readonly info: ErrorInfo | null = null,
    override readonly cause?: unknown,
  ) {
    super(info?.reason ?? CODES[kind].en)
  }

  /** The code of the reply on the wire. */
  get number(): number {
    return CODES[this.kind].code
  }
}

/** The only converter. @param fallback the code for what is not a GatewayError already. */
export function toGatewayError(thrown: unknown, fallback: CodeName = 'ERROR'): GatewayError {
  return thrown instanceof GatewayError ? thrown : new GatewayError(fallback, null, thrown)
}

/** Some requests of the old protocol have a number of their own for "the store did not answer". */
export function nameStoreFault(thrown: unknown, name: CodeName): GatewayError {
  const error = toGatewayError(thrown, name)
  const isStoreFault = error.kind === 'STORE_UNAVAILABLE' || error.kind === 'STORE_FULL'
  return isStoreFault ? new GatewayError(name, null, error) : error
}

/** The language that `?lang=en` of a WebSocket's address asks for. */
export function askedLocale(path = '/'): Locale | undefined {
  const [, query] = path.split('?')
  const lang = new URLSearchParams(query).get('lang')
  return lang === 'en' || lang === 'zh-TW' ? lang : undefined
}
