/** A connection that sends one hostile message after another and checks the answer to each. */
import type { WebSocket } from 'ws'
import type { Random } from '../random.js'
import { within } from '../within.js'
import { type Account, type Door, Fault } from './input.js'
import { type JsonInput, jsonInput } from './json-inputs.js'
import { PATIENCE_MS, type World } from './world.js'

interface Reply {
  readonly code: number
  readonly id?: string
}

/** Codes that report a failure of the server. An input must not cause one. */
const OURS = new Set([500, 10001, 10002, 10004, 10011, 10104, 10105, 10107])
/** Codes that the server may send before it closes. */
const FAREWELLS = new Set([10009, 10106, 10108, 10124, 10125, 10160])
/** Close codes that the server may use here (RFC 6455 7.4, docs/protocol.md). */
const CLOSES = new Set([1000, 1007, 1009, 4009, 4011, 4500, 4501])
/** Inputs per connection; a new connection then discards any state that they caused. */
const A_CONNECTION = 50

export class JsonDoor implements Door {
  current: JsonInput | undefined
  #ws: WebSocket | undefined
  #account: Account | undefined
  #inputs = 0
  #marks = 0
  #replies: Reply[] = []
  #fault: Fault | undefined
  #wake: () => void = () => undefined
  #closed: number | undefined

  /** @param isIn whether it logs in first */
  constructor(
    private readonly world: World,
    private readonly isIn: boolean,
  ) {}

  /**
   * Each input is followed by a request that always gets an answer. Replies come in order, so what arrives before that
   * answer belongs to the input: exactly one reply, or a close.
   */
  async send(random: Random): Promise<string> {
    if (this.#ws === undefined || ++this.#inputs > A_CONNECTION) {
      const refused = await this.#open()
      if (refused !== undefined) return refused
    }
    const account = this.#account ?? { id: '123456789', email: 'nobody@fuzz.example', password: 'x' }
    this.current = jsonInput(random, account)
    const { bytes, isBinary, kind } = this.current
    this.#replies = []
    const mark = `mark ${++this.#marks}`
    this.#ws?.send(bytes, { binary: isBinary })
    this.#ws?.send(markRequest(mark))
    await this.#until(() => this.#replies.at(-1)?.id === mark || this.#closed !== undefined)
    const outcome = this.#closed === undefined ? this.#judgeReplies(mark) : this.#judgeClose(this.#closed)
    this.current = undefined
    return `${kind}: ${outcome}`
  }

  #judgeReplies(mark: string): string {
    const replies = this.#replies.filter(({ id }) => id !== mark)
    if (replies.length !== 1) throw new Fault(`${replies.length} replies to one frame`)
    const code = replies[0]?.code ?? 0
    if (OURS.has(code)) throw new Fault(`answered ${code}`)
    return String(code)
  }

  #judgeClose(code: number): string {
    this.close()
    if (!CLOSES.has(code)) throw new Fault(`closed with ${code}`)
    const replies = this.#replies.filter(reply => !FAREWELLS.has(reply.code))
    // One reply to the input, one to the request after it.
    if (replies.length > 2) throw new Fault(`${replies.length} replies before the close`)
    return `closed ${code}`
  }

  /** @returns the reason if a limit refused the login */
  async #open(): Promise<string | undefined> {
    this.close()
    try {
      if (this.isIn) this.#account ??= await this.world.register()
      await this.world.open(ws => this.#listen(ws))
    } catch (error) {
      this.close()
      if (this.world.isCounted) return 'json: turned away'
      throw new Fault(`not let in: ${error instanceof Error ? error.message : error}`)
    }
    await this.#until(() => this.#greeted)
    return this.#account === undefined ? undefined : this.#login(this.#account)
  }

  async #login({ email, password }: Account): Promise<string | undefined> {
    this.#replies = []
    this.#ws?.send(JSON.stringify({ type: 'action', action: 'login', id: 'l', data: { email, password } }))
    await this.#until(() => this.#replies.at(-1)?.id === 'l' || this.#closed !== undefined)
    const code = this.#replies.at(-1)?.code
    if (code === 202) return undefined
    this.close()
    // An input deleted the account or changed its password.
    this.#account = undefined
    return `login: ${code}`
  }

  #greeted = false

  #listen(ws: WebSocket): void {
    this.#ws = ws
    this.#inputs = 0
    this.#closed = undefined
    this.#greeted = false
    ws.on('message', data => {
      if (ws !== this.#ws) return
      try {
        this.#take(JSON.parse(data.toString()))
      } catch (error) {
        this.#fault = error instanceof Fault ? error : new Fault('a frame that is no JSON')
      }
      this.#wake()
    })
    ws.on('close', code => {
      if (ws !== this.#ws) return
      this.#closed = code
      this.#wake()
    })
  }

  #take(frame: Record<string, unknown>): void {
    if (typeof frame.key === 'string' && !this.#greeted) this.#greeted = true
    else if ('key' in frame) throw new Fault('a second frame with a key')
    else if ('sender' in frame) this.#takeMessage(frame)
    else if (!('event' in frame)) this.#takeReply(frame)
  }

  #takeMessage({ content, recipient }: Record<string, unknown>): void {
    if (typeof content !== 'string' || content === '') throw new Fault('a message without content')
    if (recipient !== undefined && recipient !== this.#account?.id) throw new Fault('the message of another')
  }

  #takeReply({ code, msg, data, id, ...more }: Record<string, unknown>): void {
    const isReply = Number.isInteger(code) && typeof msg === 'string' && data !== undefined
    if (!isReply || Object.keys(more).length > 0) throw new Fault('a reply of another shape')
    this.#replies.push({ code: Number(code), ...(typeof id === 'string' && { id }) })
  }

  async #until(isSo: () => boolean): Promise<void> {
    const waiting = (async () => {
      while (!isSo() && this.#fault === undefined) {
        await new Promise<void>(resolve => {
          this.#wake = resolve
        })
      }
    })()
    await within(PATIENCE_MS, waiting).catch(() => {
      this.close()
      throw new Fault(`silence: no reply within ${PATIENCE_MS} ms`)
    })
    const fault = this.#fault
    this.#fault = undefined
    if (fault !== undefined) {
      this.close()
      throw fault
    }
  }

  close(): void {
    const ws = this.#ws
    this.#ws = undefined
    ws?.terminate()
  }
}

const markRequest = (id: string): string =>
  JSON.stringify({ type: 'action', action: 'query', id, data: { email: 'nobody@fuzz.example' } })
