/** The admin socket: HTTP over a Unix socket, for the user that the gateway runs as. */
import { chmodSync, mkdirSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import { LOCAL } from './ask.js'
import { answerRequests, type RequestOptions } from './requests.js'

export interface AdminServerOptions extends Pick<RequestOptions, 'ask' | 'onFault'> {
  /** Of the socket; see `socketPath`. */
  readonly path: string
}

export class AdminServer {
  readonly #server: Server
  #isListening = false

  constructor(private readonly options: AdminServerOptions) {
    this.#server = createServer(answerRequests({ ...options, admit: () => LOCAL }))
    // A client that breaks off is no fault.
    this.#server.on('clientError', (_error, socket) => socket.destroy())
  }

  /**
   * A socket that an ended process left behind is replaced.
   * @throws the system's error; EADDRINUSE if another process answers there
   */
  async listen(): Promise<void> {
    const { path } = this.options
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    if (await isAnswered(path)) throw Object.assign(new Error(`${path} is in use`), { code: 'EADDRINUSE' })
    rmSync(path, { force: true })
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject).listen(path, resolve)
    })
    this.#isListening = true
    // The umask of the process has done it, unless somebody else started the server.
    chmodSync(path, 0o600)
  }

  /** Resolves when no request is under way. The socket is removed. */
  async close(): Promise<void> {
    if (!this.#isListening) return
    this.#isListening = false
    await new Promise(resolve => {
      this.#server.close(resolve)
      this.#server.closeIdleConnections()
    })
  }
}

/** Whether a process listens on this socket. */
function isAnswered(path: string): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(path)
    const end = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => end(true)).once('error', () => end(false))
  })
}
