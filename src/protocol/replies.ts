/** Encodes replies and events. Only this file knows the member names of the wire and their order. */
import { CODES, type CodeName, type Locale } from '../core/errors.js'
import type { User } from '../core/model.js'

const bare: Readonly<Record<Locale, Map<CodeName, string>>> = { 'zh-TW': new Map(), en: new Map() }

/**
 * `{"code","msg","data"}`, with `id` as a fourth member if the request had one (docs/protocol.md, "Replies").
 * The form of each code without data and id is cached, since most replies are a `201` without data.
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

/** The greeting, the only frame with a top-level `key`. */
export const encodeGreeting = (key: string): string => JSON.stringify({ key })

/** An event, sent to clients that asked for its kind at login. */
export const encodeEvent = (event: string, data: unknown): string => JSON.stringify({ event, data })

const OWN_IMAGE = /^\/images\/[\w-]{32}$/

/** What an account has as its image, with the address of the server before a path of ours. @param publicUrl '' = not known */
export const imageUrl = (profileImage: string, publicUrl: string): string =>
  OWN_IMAGE.test(profileImage) ? publicUrl + profileImage : profileImage

/** A user in a query reply: these members in this order. `password` is always empty. */
export const encodeUser = (user: User, isLogin: boolean, publicUrl = '') => ({
  id: user.id,
  username: user.username,
  email: user.email,
  password: '',
  firstName: user.firstName,
  lastName: user.lastName,
  profileImage: imageUrl(user.profileImage, publicUrl),
  key: user.key,
  isLogin,
})
