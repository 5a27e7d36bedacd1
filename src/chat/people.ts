/** Who the users are: ids and the names that people type. */
import { type ChatRequest, type Reply, Unfit } from './link.js'

/** A user as `query` returns it; more fields come and are not used. */
export interface Person {
  readonly id: string
  readonly email: string
  readonly isLogin: boolean
}

export type Ask = (request: ChatRequest) => Promise<Reply>

const SUCCESS = 200
const USER_ID = /^[1-9][0-9]{8}$/

export class People {
  readonly #ask: Ask
  readonly #emails = new Map<string, string>()

  constructor(ask: Ask) {
    this.#ask = ask
  }

  /** The address of a user; the id itself if there is no such user any more. */
  async nameOf(id: string): Promise<string> {
    const known = this.#emails.get(id)
    if (known !== undefined) return known
    await this.#query({ id })
    return this.#emails.get(id) ?? id
  }

  /**
   * @param name an address, the part of a known address before @, or an id
   * @returns those who are meant: one, none, or several
   * @throws Refused
   */
  async find(name: string): Promise<readonly Person[]> {
    if (name.includes('@')) return this.#query({ email: name })
    if (USER_ID.test(name)) return this.#query({ id: name })
    const all = await this.list()
    return all.filter(({ email }) => email.split('@')[0]?.toLowerCase() === name.toLowerCase())
  }

  /** All users, oldest account first, as many as the server returns at once. @throws Refused */
  list(): Promise<readonly Person[]> {
    return this.#query({})
  }

  async #query(data: Readonly<Record<string, string>>): Promise<readonly Person[]> {
    const reply = await this.#ask({ type: 'action', action: 'query', data })
    if (reply.code !== SUCCESS) throw new Refused(reply)
    const found = reply.data
    if (!Array.isArray(found) || !found.every(isPerson)) throw new Unfit('query')
    for (const { id, email } of found) this.#emails.set(id, email)
    return found
  }
}

function isPerson(one: unknown): one is Person {
  const { id, email }: { id?: unknown; email?: unknown } = Object(one)
  return typeof id === 'string' && typeof email === 'string'
}

export class Refused extends Error {
  override readonly name = 'Refused'
  constructor(readonly reply: Reply) {
    super(reply.msg)
  }
}
