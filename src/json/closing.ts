/** The end of a connection: why, and what the client still sends until it has taken part in the closing handshake. */
import { CODES, type CodeName, type Locale } from '../core/errors.js'
import { encodeReply } from '../protocol/replies.js'
import type { FrameWriter } from './frame-writer.js'
import type { ClientSocket } from './socket.js'

/** Frames that a client may send behind our close frame; one more cuts it off. */
const MAX_BEHIND_CLOSE = { known: 1000, stranger: 100 }

/** RFC 6455 7.4.1: the server is going down. 1012 (service restart) is younger than clients in use, some of which break at it. */
export const GOING_AWAY = 1001
/** RFC 6455 7.4.1: the server met a condition that it did not expect. */
const INTERNAL_ERROR = 1011

export class Closing {
  /** Why the connection ends, until that is said. */
  #reason: CodeName | undefined
  #notice: string | undefined
  #passedOver = 0

  constructor(
    private readonly ws: Pick<ClientSocket, 'terminate'>,
    private readonly out: Pick<FrameWriter, 'write' | 'close'>,
    private readonly locale: Locale,
  ) {}

  because(code: CodeName): void {
    this.#reason = code
  }

  /** The server is leaving. @param notice text of a frame that tells it to clients that asked for such */
  away(notice: string | undefined): void {
    this.#reason = 'SHUTDOWN'
    this.#notice = notice
  }

  /** Sends the reason as a reply and in the close frame, once. That the server leaves is no reply: old clients know none. */
  sayWhy(): void {
    const code = this.#reason
    if (code === undefined) return
    this.#reason = undefined
    if (code === 'SHUTDOWN') {
      if (this.#notice !== undefined) this.out.write(this.#notice)
      this.out.close(GOING_AWAY, code)
      return
    }
    this.out.write(encodeReply(code, this.locale))
    this.out.close(CODES[code].close ?? INTERNAL_ERROR, code)
  }

  /** A frame came after the end: the client has its close frame to send and nothing else. */
  passOver(isKnown: boolean): void {
    if (++this.#passedOver > (isKnown ? MAX_BEHIND_CLOSE.known : MAX_BEHIND_CLOSE.stranger))
      this.ws.terminate()
  }
}
