/** Uploads that are under way: which they are, and that of what is removed, or of a login that ended, no more is taken. */
import { GatewayError } from '../core/errors.js'
import type { Login, UserId } from '../core/model.js'
import { ownerOf } from './ids.js'

export const noFile = () => new GatewayError('NO_FILE', { field: 'file', reason: 'no such file' })

const endedLogin = () => new GatewayError('ERROR_AUTH', { field: 'token', reason: 'was revoked' })

/** What a revocation asks of a login. */
export type UploadLogin = Pick<Login, 'id' | 'role'>

interface UnderWay {
  /** By which each request of it comes; undefined: it needs none. */
  readonly login: UploadLogin | undefined
  stopped?: GatewayError
  /** Ends the wait for bytes. */
  wake?: (why: GatewayError) => void
}

export class Uploads {
  readonly #all = new Map<string, UnderWay>()
  #waiting: (() => void)[] = []

  has(id: string): boolean {
    return this.#all.has(id)
  }

  begin(id: string, login: UploadLogin | undefined): void {
    this.#all.set(id, { login })
  }

  end(id: string): void {
    this.#all.delete(id)
    if (this.#all.size === 0) for (const done of this.#waiting.splice(0)) done()
  }

  /** Resolves when none is under way. */
  async idle(): Promise<void> {
    if (this.#all.size > 0) await new Promise<void>(resolve => this.#waiting.push(resolve))
  }

  /** The file is removed. */
  stop(id: string): void {
    this.#stop(id, noFile())
  }

  /** All files of an account are removed. */
  stopAll(owner: UserId): void {
    for (const id of this.#all.keys()) if (ownerOf(id) === owner) this.stop(id)
  }

  /** Logins of an account have ended. */
  stopLogins(owner: UserId, isEnded: (login: UploadLogin) => boolean): void {
    for (const [id, { login }] of this.#all)
      if (ownerOf(id) === owner && login !== undefined && isEnded(login)) this.#stop(id, endedLogin())
  }

  #stop(id: string, why: GatewayError): void {
    const upload = this.#all.get(id)
    if (upload === undefined || upload.stopped !== undefined) return
    upload.stopped = why
    upload.wake?.(why)
  }

  /** @throws GatewayError NO_FILE if the file was removed since `begin`, ERROR_AUTH if the login ended */
  check(id: string): void {
    const { stopped } = this.#all.get(id) ?? {}
    if (stopped !== undefined) throw stopped
  }

  /** What comes, until `check` would throw: then it throws that at once, also while nothing comes. */
  async *watch(id: string, body: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    const upload = this.#all.get(id)
    const pieces = body[Symbol.asyncIterator]()
    try {
      for (;;) {
        this.check(id)
        const stop = new Promise<never>((_, reject) => {
          if (upload !== undefined) upload.wake = reject
        })
        const { done, value } = await Promise.race([pieces.next(), stop])
        this.check(id)
        if (done) return
        yield value
      }
    } finally {
      // Not waited for: it ends with the next piece.
      void pieces.return?.().catch(() => undefined)
    }
  }
}
