/**
 * Makes small pictures of images that clients send. Nothing of the sent file goes on but its pixels. Each is decoded in a
 * process of its own, of low priority: the libraries that decode are C, and what their fault or a bomb would take down is
 * that process and not the gateway.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { constants, setPriority } from 'node:os'
import type { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { GatewayError } from '../core/errors.js'
import type { UserId } from '../core/model.js'
import { FairQueue } from '../flow/fair-queue.js'

export interface PictureSize {
  readonly width: number
  readonly height: number
  /** `cover`: exactly this size, its edges cut; `inside`: whole, not larger than this and not than it was. */
  readonly fit: 'cover' | 'inside'
}

export interface Picture {
  /** JPEG where no pixel lets anything through, and PNG otherwise: every client shows these. */
  readonly type: 'image/jpeg' | 'image/png'
  readonly width: number
  readonly height: number
  readonly bytes: Buffer
}

export interface PictureOptions {
  /** Images of more pixels are refused before they are decoded. */
  readonly maxPixels: number
  /** How long one image may take, ms. */
  readonly timeoutMs: number
  /** Most images that wait for their turn. Beyond it, the newest of the account with the most is refused. */
  readonly maxWaiting: number
  /** What decodes. Default: decoder.js. */
  readonly decoder?: string
}

/** Anything beyond it was not made by our decoder: it makes a few pictures of some hundred pixels. */
const MAX_MADE_BYTES = 16 << 20
const NEW_LINE = 10
const DECODER = fileURLToPath(new URL('decoder.js', import.meta.url))

/** The first line of what the decoder writes. */
interface Made {
  readonly pictures?: readonly (Omit<Picture, 'bytes'> & { readonly bytes: number })[]
  /** What is wrong with the image. */
  readonly fault?: string
  /** Why images cannot be decoded here. */
  readonly missing?: string
}

/** An image, or what reads it when its turn has come: then nothing of it is in memory before. */
export type Image = Uint8Array | (() => Promise<Uint8Array>)

export class Pictures {
  /** One at a time: an image of `maxPixels` may take 200 MB while it is decoded. Accounts take turns. */
  readonly #turns: FairQueue
  readonly #running = new Set<ChildProcess>()
  #isClosed = false

  constructor(private readonly options: PictureOptions) {
    const refusal = () => new GatewayError('IMAGES_BUSY')
    this.#turns = new FairQueue({ concurrency: 1, max: options.maxWaiting, onFull: () => undefined, refusal })
  }

  /**
   * @param image a JPEG, PNG, WebP or GIF file; the caller bounds its length
   * @param account whose it is
   * @returns a picture of each size
   * @throws GatewayError BAD_FIELD (field), IMAGES_BUSY, IMAGES_UNAVAILABLE
   */
  async make(
    image: Image,
    sizes: readonly PictureSize[],
    account: UserId,
    field = 'image',
  ): Promise<Picture[]> {
    const decode = async () => this.#decode(typeof image === 'function' ? await image() : image, sizes, field)
    return this.#turns.run({ group: account, standing: 'clean' }, decode)
  }

  /** Ends what is under way; whoever waits for it is refused. */
  close(): void {
    this.#isClosed = true
    for (const child of this.#running) child.kill('SIGKILL')
  }

  async #decode(image: Uint8Array, sizes: readonly PictureSize[], field: string): Promise<Picture[]> {
    if (this.#isClosed) throw new GatewayError('IMAGES_BUSY')
    const { maxPixels, timeoutMs, decoder = DECODER } = this.options
    const child = spawn(process.execPath, [decoder], { stdio: ['pipe', 'pipe', 'ignore'], env: {} })
    this.#running.add(child)
    const killed = setTimeout(() => child.kill('SIGKILL'), timeoutMs)
    try {
      const [made] = await Promise.all([
        readMade(child, child.stdout),
        new Promise<void>((resolve, reject) => {
          child.once('spawn', () => {
            lower(child)
            // It may end before it has read all.
            child.stdin.on('error', () => undefined)
            child.stdin.write(`${JSON.stringify({ sizes, maxPixels })}\n`)
            child.stdin.end(image)
          })
          child.once('error', reject)
          child.once('close', () => resolve())
        }),
      ])
      return picturesOf(made, field)
    } catch (thrown) {
      if (thrown instanceof GatewayError) throw thrown
      throw new GatewayError('IMAGES_UNAVAILABLE', { reason: 'the decoder cannot be started' }, thrown)
    } finally {
      clearTimeout(killed)
      this.#running.delete(child)
    }
  }
}

/** Behind messages, whose process it shares the cores with. */
function lower({ pid }: ChildProcess): void {
  try {
    setPriority(pid ?? 0, constants.priority.PRIORITY_LOW)
  } catch {
    // It has ended, or the system does not allow it.
  }
}

/** What it has written when it ends. */
function readMade(child: ChildProcess, stdout: Readable): Promise<Buffer> {
  let size = 0
  stdout.on('data', (chunk: Buffer) => {
    size += chunk.length
    if (size > MAX_MADE_BYTES) child.kill('SIGKILL')
  })
  return buffer(stdout)
}

/** @throws GatewayError BAD_FIELD, IMAGES_UNAVAILABLE */
function picturesOf(made: Buffer, field: string): Picture[] {
  const end = made.indexOf(NEW_LINE)
  // It was killed: by its time, by the system for want of memory, or by a fault of its own.
  if (end < 0) throw new GatewayError('BAD_FIELD', { field, reason: 'cannot be decoded' })
  const { pictures = [], fault, missing }: Made = JSON.parse(made.subarray(0, end).toString())
  if (missing !== undefined) throw new GatewayError('IMAGES_UNAVAILABLE', { reason: missing })
  if (fault !== undefined) throw new GatewayError('BAD_FIELD', { field, reason: fault })
  let at = end + 1
  return pictures.map(({ bytes: length, ...about }) => {
    const bytes = made.subarray(at, at + length)
    at += length
    if (bytes.length !== length) throw new GatewayError('BAD_FIELD', { field, reason: 'cannot be decoded' })
    return { ...about, bytes }
  })
}
