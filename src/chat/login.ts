/** Who the user is to the server: an account that is there, or a new one. */
import { Link, type Reply, Unfit } from './link.js'
import type { Screen } from './screen.js'
import { printable, refusal } from './words.js'

export interface Credentials {
  readonly email: string
  readonly password: string
}

const USER_FOUND = 200
export const LOGGED_IN = 202
const REGISTERED = 203
const WRONG_PASSWORD = 10000
const USER_EXISTS = 10003
const LOGGED_IN_ELSEWHERE = 10005
const SECOND_FACTOR = 10145

/** How often a person may mistype. A pipe has one password. */
const ATTEMPTS = 3

/**
 * Whether the server knows the address.
 * @returns undefined if it does not say (config `query.anonymous` = `none`)
 */
export async function isKnown(link: Link, email: string): Promise<boolean | undefined> {
  const { code, data } = await link.ask({ type: 'action', action: 'query', data: { email } })
  if (code !== USER_FOUND) return undefined
  if (!Array.isArray(data)) throw new Unfit('query')
  return data.length > 0
}

/** @param link without a login yet */
export function logIn(link: Link, { email, password }: Credentials): Promise<Reply> {
  const data = { email, password, ack: 'explicit', events: ['dropped'] }
  return link.ask({ type: 'action', action: 'login', data })
}

async function register(link: Link, { email, password }: Credentials): Promise<Reply> {
  const [name = email] = email.split('@')
  const data = { email, password, firstName: name.slice(0, 128) || '-', lastName: '-' }
  return link.ask({ type: 'action', action: 'register', data })
}

/**
 * Asks for the password until the server takes it, and makes the account if there is none.
 * @returns undefined if it was not to be: the screen says why
 */
export async function askPassword(url: URL, email: string, screen: Screen): Promise<Credentials | undefined> {
  const known = await withLink(url, link => isKnown(link, email))
  if (known === false) screen.print(`${printable(email)} is new here: choose a password.`)
  for (let attempt = 1; attempt <= (screen.isInteractive ? ATTEMPTS : 1); attempt++) {
    const password = await readPassword(screen, email, known === false)
    if (password === undefined) return undefined
    const credentials = { email, password }
    const refused = await withLink(url, link => admit(link, credentials, known))
    if (refused === undefined) return credentials
    screen.print(inWords(refused, email))
    if (refused.code === LOGGED_IN_ELSEWHERE) return undefined
  }
  return undefined
}

/** A new password is typed twice where a person types it, since it is not shown. */
async function readPassword(screen: Screen, email: string, isNew: boolean): Promise<string | undefined> {
  for (;;) {
    const password = await screen.readSecret(`password for ${printable(email)}: `)
    if (!isNew || !screen.isInteractive || password === undefined) return password
    if ((await screen.readSecret('the same again: ')) === password) return password
    screen.print('these were two different ones.')
  }
}

/** Each password is tried on a connection of its own: one without a login is closed soon. */
async function withLink<T>(url: URL, work: (link: Link) => Promise<T>): Promise<T> {
  const link = await Link.open(url)
  try {
    return await work(link)
  } finally {
    link.close()
    await link.ended
  }
}

/** @returns the refusal; undefined if the account lets in with this password now */
async function admit(
  link: Link,
  credentials: Credentials,
  known: boolean | undefined,
): Promise<Reply | undefined> {
  if (known !== false) {
    const login = await logIn(link, credentials)
    if (login.code === LOGGED_IN) return undefined
    if (known === true || login.code !== WRONG_PASSWORD) return login
  }
  const registered = await register(link, credentials)
  if (registered.code === REGISTERED) return undefined
  return registered.code === USER_EXISTS ? { ...registered, msg: 'wrong password' } : registered
}

/** What a refused login means to who types. */
export function inWords(reply: Reply, email: string): string {
  if (reply.code === LOGGED_IN_ELSEWHERE)
    return `${printable(email)} is logged in already, in another terminal or program: end that one first.`
  // A code is good once, and the chat logs in again whenever the connection breaks.
  if (reply.code === SECOND_FACTOR)
    return `${printable(email)} has a second factor: make an app password, on the page /account/app-password of the server, and type it in place of the password.`
  return `not logged in: ${refusal(reply)}`
}
