/** A TCP connection that sends given bytes and keeps all received bytes. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { within } from '../within.js'
import { Fault } from './input.js'
import { PATIENCE_MS } from './world.js'

export class RawSocket {
  readonly #socket: Socket
  readonly #chunks: Buffer[] = []
  readonly #over: Promise<unknown>
  #isOver = false
  #wake: () => void = () => undefined

  constructor(port: number) {
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true })
    // The server may have closed the connection: write errors are expected.
    this.#socket.on('error', () => undefined)
    this.#socket.on('data', chunk => {
      this.#chunks.push(chunk)
      this.#wake()
    })
    this.#over = Promise.race([once(this.#socket, 'end'), once(this.#socket, 'close')])
      .catch(() => undefined)
      .then(() => {
        this.#isOver = true
        this.#wake()
      })
  }

  /** All bytes received so far. */
  get received(): Buffer {
    return Buffer.concat(this.#chunks)
  }

  /** The server has ended its side. */
  get isOver(): boolean {
    return this.#isOver
  }

  /** Sends each piece in its own segment, if the operating system allows. */
  async write(pieces: readonly Buffer[]): Promise<void> {
    for (const piece of pieces) {
      this.#socket.write(piece)
      if (pieces.length > 1) await turn()
    }
  }

  /** Waits until the condition holds or the server has ended its side. @throws Fault if neither happens in time */
  async until(isSo: () => boolean, what: string): Promise<void> {
    const waiting = (async () => {
      while (!isSo() && !this.#isOver) {
        await new Promise<void>(resolve => {
          this.#wake = resolve
        })
      }
    })()
    await within(PATIENCE_MS, waiting).catch(error => {
      this.destroy()
      throw error instanceof Fault ? error : new Fault(`silence: no ${what} within ${PATIENCE_MS} ms`)
    })
  }

  /** Ends this side; the server must then end its side. @throws Fault if it does not */
  async end(): Promise<void> {
    this.#socket.end()
    await within(PATIENCE_MS, this.#over).catch(() => {
      throw new Fault(`not closed within ${PATIENCE_MS} ms of its client’s end`)
    })
    this.destroy()
  }

  destroy(): void {
    this.#socket.destroy()
  }
}
