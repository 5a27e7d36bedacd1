/** What typed lines do, and how messages are shown. */
import { parseLine } from './line.js'
import { type Arrival, type Reply, Unfit } from './link.js'
import { type Ask, type People, type Person, Refused } from './people.js'
import { clock, HELP, printable, refusal } from './words.js'

export interface ConversationOptions {
  readonly people: People
  readonly ask: Ask
  readonly print: (text: string) => void
  /** Shows to whom the next line goes. */
  readonly onTalkTo: (name: string) => void
  readonly userId: () => string
}

const FOUND = 200
const SENT = 201
const BROADCAST = 204

/** Names in a line of those who are there; a large server has more than a screen. */
const MOST_NAMES = 50

export class Conversation {
  readonly #options: ConversationOptions
  #partner: { readonly id: string; readonly name: string } | undefined
  /** From when the messages are that were shown last: before the login, or not. */
  #isMissed = false
  #wasRefused = false

  constructor(options: ConversationOptions) {
    this.#options = options
  }

  /** Whether a line was not done. */
  get wasRefused(): boolean {
    return this.#wasRefused
  }

  /** @returns false if the user wants to end */
  async say(line: string): Promise<boolean> {
    const parsed = parseLine(line)
    if (parsed.kind === 'quit') return false
    try {
      await this.#do(parsed)
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      this.#refuse(refusal(error.reply))
    }
    return true
  }

  /** @param missedBefore ms since 1970: what is older came while the user was away */
  async show(message: Arrival, missedBefore: number): Promise<void> {
    const { sender, recipient, content, created_at } = message
    const name = await this.#options.people.nameOf(sender).catch(() => sender)
    this.#head(Date.parse(created_at) < missedBefore - 1000)
    const to = recipient === undefined ? ' (to all)' : ''
    this.#options.print(`${clock(created_at)} ${printable(`${name}${to}: ${content}`)}`)
    // Whoever is written to first can answer at once.
    if (this.#partner === undefined && recipient !== undefined) this.#talkTo({ id: sender, name })
  }

  /** Says who is there. */
  async who(): Promise<void> {
    const all = await this.#options.people.list()
    const there = all.filter(({ isLogin, id }) => isLogin && id !== this.#options.userId())
    const names = there.slice(0, MOST_NAMES).map(({ email }) => printable(email))
    const more = there.length > MOST_NAMES ? `, and ${there.length - MOST_NAMES} more` : ''
    this.#options.print(names.length === 0 ? 'nobody else is here.' : `here: ${names.join(', ')}${more}`)
  }

  async #do(line: ReturnType<typeof parseLine>): Promise<void> {
    switch (line.kind) {
      case 'say':
        return this.#send(line.text, line.name)
      case 'to':
        return void (await this.#choose(line.name))
      case 'all':
        return this.#sent(
          await this.#options.ask({ type: 'broadcast', data: { content: line.text } }),
          BROADCAST,
        )
      case 'who':
        return this.who()
      case 'history':
        return this.#history(line.count)
      case 'help':
        return this.#options.print(HELP)
      case 'unknown':
        return this.#refuse(`${printable(line.command)} is no command, or lacks something: /help lists them`)
    }
  }

  async #send(content: string, name: string | undefined): Promise<void> {
    if (name !== undefined && !(await this.#choose(name))) return
    const partner = this.#partner
    if (partner === undefined) return this.#refuse('to whom? /to NAME says it, /who lists who is there')
    const reply = await this.#options.ask({ type: 'message', data: { recipient: partner.id, content } })
    this.#sent(reply, SENT)
  }

  #sent(reply: Reply, success: number): void {
    if (reply.code !== success) this.#refuse(`not sent: ${refusal(reply)}`)
  }

  #refuse(text: string): void {
    this.#wasRefused = true
    this.#options.print(text)
  }

  /** @returns whether it is clear who is meant */
  async #choose(name: string): Promise<boolean> {
    if (name === this.#partner?.name) return true
    const found = await this.#options.people.find(name)
    const [one] = found
    if (one !== undefined && found.length === 1) {
      this.#talkTo({ id: one.id, name: one.email })
      if (!one.isLogin) this.#options.print(`${printable(one.email)} is away, and gets it later.`)
      return true
    }
    this.#refuse(one === undefined ? `${printable(name)} is not here` : severalAre(name, found))
    return false
  }

  #talkTo(partner: { readonly id: string; readonly name: string }): void {
    this.#partner = partner
    this.#options.onTalkTo(printable(partner.name))
  }

  async #history(limit: number): Promise<void> {
    const partner = this.#partner
    if (partner === undefined) return this.#refuse('with whom? /to NAME says it')
    const data = { with: partner.id, limit }
    const reply = await this.#options.ask({ type: 'action', action: 'history', data })
    if (reply.code !== FOUND) throw new Refused(reply)
    const { messages }: { readonly messages?: readonly Arrival[] } = Object(reply.data)
    if (!Array.isArray(messages)) throw new Unfit('history')
    for (const { sender, content, created_at } of [...messages].reverse()) {
      const name = await this.#options.people.nameOf(sender)
      this.#options.print(`${clock(created_at)} ${printable(`${name}: ${content}`)}`)
    }
  }

  /** Before the first message that the user missed, and behind the last. */
  #head(isMissed: boolean): void {
    if (isMissed && !this.#isMissed) this.#options.print('while you were away:')
    this.#isMissed = isMissed
  }
}

const severalAre = (name: string, found: readonly Person[]): string =>
  `${printable(name)} may be ${found.map(({ email }) => printable(email)).join(' or ')}`
