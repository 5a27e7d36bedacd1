/** The terminal, or the pipe, from which the chat reads lines and on which it prints. */
import { clearLine, createInterface, cursorTo, type Interface } from 'node:readline'
import { Writable } from 'node:stream'

export interface ScreenStreams {
  readonly input: NodeJS.ReadableStream & { readonly isTTY?: boolean }
  /** Where messages go. */
  readonly output: NodeJS.WriteStream | Writable
  /** Where the prompt and what is typed goes, if that is another place. */
  readonly echo?: NodeJS.WriteStream | Writable
}

/** Passes on what is written to it, except while a password is typed. */
class Echo extends Writable {
  isMuted = false
  constructor(readonly target: NodeJS.WriteStream | Writable) {
    super()
    target.on('resize', () => this.emit('resize'))
  }

  /** readline asks for it, to know where a line wraps. */
  get columns(): number | undefined {
    return Reflect.get(this.target, 'columns')
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    if (!this.isMuted) this.target.write(chunk)
    done()
  }
}

export class Screen {
  /** Whether a person types, so that questions make sense. */
  readonly isInteractive: boolean
  readonly #output: NodeJS.WriteStream | Writable
  readonly #echo: Echo
  readonly #readline: Interface
  readonly #lines: string[] = []
  readonly #readers: ((line: string | undefined) => void)[] = []
  readonly #ended: () => void
  #isClosed = false
  #isPrompting = false
  /** Resolves at the end of the input, and after Ctrl-C; lines may still wait to be read. */
  readonly ended: Promise<void>

  constructor({ input, output, echo = output }: ScreenStreams) {
    let ended = () => {}
    this.ended = new Promise(resolve => {
      ended = resolve
    })
    this.#ended = ended
    this.isInteractive = input.isTTY === true
    this.#output = output
    this.#echo = new Echo(echo)
    const terminal = this.isInteractive
    this.#readline = createInterface({ input, output: this.#echo, terminal, prompt: '> ' })
    // readline remembers lines for the arrow keys: not passwords.
    this.#readline.on('history', (history: string[]) => this.#echo.isMuted && history.shift())
    this.#readline.on('line', line => this.#take(line))
    this.#readline.on('close', () => this.#end())
  }

  /** The next line; undefined at the end of the input, and after Ctrl-C. */
  readLine(): Promise<string | undefined> {
    const line = this.#lines.shift()
    if (line !== undefined || this.#isClosed) return Promise.resolve(line)
    this.#isPrompting = true
    this.#prompt()
    return new Promise(resolve => this.#readers.push(resolve))
  }

  /** A line that is not shown. @param question only asked where a person types */
  async readSecret(question: string): Promise<string | undefined> {
    if (this.isInteractive) this.#echo.target.write(question)
    this.#echo.isMuted = true
    const secret = await this.readLine()
    this.#echo.isMuted = false
    if (this.isInteractive) this.#echo.target.write('\n')
    return secret
  }

  /** Above what is being typed. */
  print(text: string): void {
    if (this.#isShown) {
      cursorTo(this.#echo, 0)
      clearLine(this.#echo, 0)
    }
    this.#output.write(`${text}\n`)
    this.#prompt()
  }

  /** @param name to whom the next line goes */
  talkTo(name: string): void {
    this.#readline.setPrompt(`${name}> `)
  }

  /** Pending and later reads get undefined. */
  close(): void {
    if (!this.#isClosed) this.#readline.close()
  }

  get #isShown(): boolean {
    return this.isInteractive && this.#isPrompting && !this.#isClosed
  }

  #prompt(): void {
    if (this.#isShown) this.#readline.prompt(true)
  }

  #take(line: string): void {
    this.#isPrompting = false
    const reader = this.#readers.shift()
    if (reader === undefined) this.#lines.push(line)
    else reader(line)
  }

  #end(): void {
    const wasShown = this.#isShown
    this.#isClosed = true
    if (wasShown) this.#echo.target.write('\n')
    for (const reader of this.#readers.splice(0)) reader(undefined)
    this.#ended()
  }
}
