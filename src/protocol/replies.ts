/** Results → frames. The only place that knows the wire's member names and their order. */
import { CODES, type CodeName, type Locale } from '../core/errors.js'
import type { InboxRow, User, UserId } from '../core/model.js'

const bare: Readonly<Record<Locale, Map<CodeName, string>>> = { 'zh-TW': new Map(), en: new Map() }

/**
 * `{"code","msg","data"}`, and `id` as a fourth member for a request that had one (docs/protocol.md, "Replies").
 * The bare form of each code is encoded once: most replies are `201` with no data.
 */
export function encodeReply(name: CodeName, locale: Locale, data: unknown = null, id?: string): string {
  if (data === null && id === undefined) {
    const known = bare[locale].get(name)
    if (known !== undefined) return known
    const text = reply(name, locale, null)
    bare[locale].set(name, text)
    return text
  }
  return reply(name, locale, data, id)
}

function reply(name: CodeName, locale: Locale, data: unknown, id?: string): string {
  const { code, [locale]: msg } = CODES[name]
  return JSON.stringify(id === undefined ? { code, msg, data } : { code, msg, data, id })
}

/** The greeting: the only frame with a top-level `key`. */
export const encodeGreeting = (key: string): string => JSON.stringify({ key })

/** A pushed event, for clients that asked for its kind at login. */
export const encodeEvent = (event: string, data: unknown): string => JSON.stringify({ event, data })

/** UTC, RFC 3339, whole seconds: `2019-07-15T09:28:10Z`. @param at ms since the epoch */
export function formatTime(at: number): string {
  const second = Math.floor(at / 1000)
  if (second !== lastSecond) {
    lastSecond = second
    lastTime = `${new Date(second * 1000).toISOString().slice(0, 19)}Z`
  }
  return lastTime
}
let lastSecond = Number.NaN
let lastTime = ''

/**
 * What a client that asked for nothing at login gets, exactly the fixed members: see NewMessage.text.
 * A broadcast has no recipient.
 */
export function encodeMessage(
  sender: UserId,
  recipient: UserId | undefined,
  content: string,
  at: number,
): string {
  const to = recipient === undefined ? '' : `"recipient":"${recipient}",`
  return `{"sender":"${sender}",${to}"content":${JSON.stringify(content)},"created_at":"${formatTime(at)}"}`
}

/** The fixed members with `id` and `seq` behind them, for a client that asked for any extension. */
export const extendMessage = ({ id, seq, text }: InboxRow): string =>
  `${text.slice(0, -1)},"id":"${id}","seq":${seq}}`

/** The payload of `users/<me>/inbox/<seq>`. */
export const encodeMqttMessage = ({ id, seq, text }: InboxRow): string =>
  `{"id":"${id}","seq":${seq},${text.slice(1)}`

/** A user in a query reply: these members in this order; `password` is always empty. */
export const encodeUser = (user: User, isLogin: boolean) => ({
  id: user.id,
  username: user.username,
  email: user.email,
  password: '',
  firstName: user.firstName,
  lastName: user.lastName,
  profileImage: user.profileImage,
  key: user.key,
  isLogin,
})
