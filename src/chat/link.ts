/** One connection of the chat: requests and their replies, and what the server pushes. */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { WebSocket } from 'ws'

export interface Reply {
  readonly code: number
  readonly msg: string
  readonly data: unknown
}

/** A message as clients with login options get it (docs/protocol.md, section 5). */
export interface Arrival {
  readonly seq: number
  readonly sender: string
  /** Missing: a broadcast. */
  readonly recipient?: string
  readonly content: string
  /** RFC 3339 */
  readonly created_at: string
}

export interface ChatRequest {
  readonly type: 'action' | 'message' | 'broadcast'
  readonly action?: string
  readonly data: Readonly<Record<string, unknown>>
}

export interface LinkEvents {
  onMessage(message: Arrival): void
  /** Messages that this device never had were removed. */
  onDropped(from: number, to: number): void
}

/** How a connection ended. */
export interface Ending {
  /** The code of the close frame; 1006 = the connection broke. */
  readonly code: number
  /** What the server said before, in words. */
  readonly farewell: string | undefined
}

/** The connection ended before the reply came. */
export class LinkLost extends Error {
  override readonly name = 'LinkLost'
  constructor(why = 'the connection ended before the answer came') {
    super(why)
  }
}

/** A reply lacks what the chat needs. */
export class Unfit extends Error {
  override readonly name = 'Unfit'
  /** @param asked what was asked for */
  constructor(asked: string) {
    super(`the server's answer to ${asked} lacks what this chat needs; is it a MumiChat Gateway?`)
  }
}

/** A server that sends nothing for so long, pongs included, is taken for gone. */
const PING_MS = 20_000

/** The same for one that owes a greeting or a reply, and sends no frame. */
const SILENCE_MS = 10_000

const IGNORE: LinkEvents = { onMessage: () => undefined, onDropped: () => undefined }

export class Link {
  readonly #socket: WebSocket
  readonly #events: LinkEvents
  readonly #waiting = new Map<string, (reply: Reply | undefined) => void>()
  #farewell: string | undefined
  readonly #silenceMs: number
  #silence: NodeJS.Timeout | undefined
  #isAlive = true
  readonly ended: Promise<Ending>

  private constructor(socket: WebSocket, events: LinkEvents, silenceMs: number) {
    this.#socket = socket
    this.#events = events
    this.#silenceMs = silenceMs
    this.#expect()
    socket.on('message', data => this.#take(String(data)))
    socket.on('pong', () => {
      this.#isAlive = true
    })
    // The end comes as 'close', too.
    socket.on('error', () => undefined)
    const pings = setInterval(() => this.#ping(), PING_MS)
    this.ended = new Promise(resolve => {
      socket.on('close', code => {
        clearInterval(pings)
        clearTimeout(this.#silence)
        for (const answer of this.#waiting.values()) answer(undefined)
        this.#waiting.clear()
        resolve({ code, farewell: this.#farewell })
      })
    })
  }

  /**
   * Resolves with the greeting.
   * @param silenceMs see SILENCE_MS
   * @throws the error of the connection or the handshake; LinkLost if no greeting comes
   */
  static async open(url: URL, events: LinkEvents = IGNORE, silenceMs = SILENCE_MS): Promise<Link> {
    const socket = new WebSocket(url, { perMessageDeflate: false })
    const link = new Link(socket, events, silenceMs)
    const lost = link.ended.then(({ farewell }) => Promise.reject(new LinkLost(farewell)))
    await Promise.race([once(socket, 'message'), lost]).catch(error => {
      // What `terminate` makes of a handshake says less.
      throw link.#farewell === undefined ? error : new LinkLost(link.#farewell)
    })
    return link
  }

  /**
   * @param id the same again if the same request was sent before: the server does it once
   * @throws LinkLost
   */
  async ask(request: ChatRequest, id: string = randomUUID()): Promise<Reply> {
    const reply = await new Promise<Reply | undefined>(answer => {
      if (this.#socket.readyState !== WebSocket.OPEN) return answer(undefined)
      this.#waiting.set(id, answer)
      this.#expect()
      this.#socket.send(JSON.stringify({ ...request, id }))
    })
    if (reply === undefined) throw new LinkLost(this.#farewell)
    return reply
  }

  close(): void {
    this.#socket.close()
  }

  #ping(): void {
    if (this.#isAlive && this.#socket.readyState === WebSocket.OPEN) this.#socket.ping()
    else this.#socket.terminate()
    this.#isAlive = false
  }

  /** From now on the server owes a frame. */
  #expect(): void {
    this.#silence ??= setTimeout(
      () => this.#cut(`the server takes connections, and says nothing for ${this.#silenceMs / 1000} s`),
      this.#silenceMs,
    )
  }

  #cut(why: string): void {
    this.#farewell = why
    this.#socket.terminate()
  }

  /** docs/protocol.md, section 1, says how to tell frames apart. Every request has an `id`, so every reply has it. */
  #take(text: string): void {
    clearTimeout(this.#silence)
    this.#silence = undefined
    const frame = parsed(text)
    if (frame === undefined) this.#cut('the server speaks no JSON; is it a MumiChat Gateway?')
    else if (frame.sender) this.#events.onMessage(frame as unknown as Arrival)
    else if (frame.event === 'dropped') this.#dropped(Object(frame.data))
    else if (!frame.key) this.#reply(frame as unknown as Reply & { readonly id?: unknown })
    if (this.#waiting.size > 0) this.#expect()
  }

  #dropped({ from, to }: { readonly from: number; readonly to: number }): void {
    this.#events.onDropped(from, to)
  }

  #reply(reply: Reply & { readonly id?: unknown }): void {
    const id = String(reply.id)
    const answer = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (answer === undefined) this.#farewell = reply.msg ? String(reply.msg) : undefined
    else answer(reply)
  }
}

/** @returns undefined if a frame is no JSON object: the server is none of ours */
function parsed(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return Object(JSON.parse(text))
  } catch {
    return undefined
  }
}
