/**
 * The picture of an account, in the store, where all gateways find it and where it goes with its account. A picture has the digest
 * of what it is as its name, so what an address shows never changes.
 */
import { createHash } from 'node:crypto'
import type { UserId } from '../core/model.js'
import { KeyedSerial } from '../flow/serial.js'
import type { SharedRecords } from '../store/store.js'
import type { Picture, PictureSize, Pictures } from './pictures.js'

export type { Pictures } from './pictures.js'

/** The one that the account shows, and a smaller one beside it, whose name ends with its size. */
const LARGE = { width: 256, height: 256, fit: 'cover' } as const satisfies PictureSize
const SMALL = { width: 64, height: 64, fit: 'cover' } as const satisfies PictureSize
const OF_SMALL = '-64'

const PATH = '/images/'
const NAME_CHARS = 32
const IN_PATH = new RegExp(`^${PATH}([\\w-]{${NAME_CHARS}}(?:${OF_SMALL})?)$`)

const TYPES = ['image/jpeg', 'image/png'] as const

export interface StoredImage {
  readonly type: (typeof TYPES)[number]
  readonly bytes: Uint8Array
}

/** @returns the name of the image; undefined for the path of something else */
export const imageNameIn = (path: string): string | undefined => IN_PATH.exec(path)?.[1]

export class ProfileImages {
  /** Of two images at once, the one that came last is shown, and the other is not left behind. */
  readonly #turns = new KeyedSerial()

  /** @param show stores the path as the account's, '' for none */
  constructor(
    private readonly shared: SharedRecords,
    private readonly pictures: Pick<Pictures, 'make'>,
    private readonly show: (userId: UserId, path: string) => Promise<unknown>,
  ) {}

  /**
   * @param image as for Pictures.make
   * @param check called before anything is changed; throws if the caller's permissions were revoked meanwhile
   * @returns its path
   * @throws GatewayError as Pictures.make
   */
  async put(userId: UserId, image: Uint8Array, check: () => void): Promise<string> {
    const [large, small] = await this.pictures.make(image, [LARGE, SMALL], userId)
    if (large === undefined || small === undefined) throw new Error('not two pictures')
    const digest = createHash('sha256').update(`${userId} `).update(large.bytes).digest('base64url')
    const name = digest.slice(0, NAME_CHARS)
    await this.#turns.run(userId, async () => {
      check()
      await this.#store(name, userId, large)
      await this.#store(name + OF_SMALL, userId, small)
      await this.show(userId, PATH + name)
      await this.#removeOthers(userId, name)
    })
    return PATH + name
  }

  /** @param check as for `put` */
  remove(userId: UserId, check: () => void): Promise<void> {
    return this.#turns.run(userId, async () => {
      check()
      await this.show(userId, '')
      await this.#removeOthers(userId, '')
    })
  }

  async find(name: string): Promise<StoredImage | undefined> {
    const found = await this.shared.sharedGet('images', name)
    if (found === undefined) return undefined
    return { type: TYPES[found.value[0] ?? 0] ?? TYPES[0], bytes: found.value.subarray(1) }
  }

  /** The name says what it is, so what is there is the same. */
  async #store(name: string, userId: UserId, { type, bytes }: Picture): Promise<void> {
    const value = Buffer.concat([Buffer.from([TYPES.indexOf(type)]), bytes])
    await this.shared.sharedSwap('images', name, undefined, { userId, value })
  }

  async #removeOthers(userId: UserId, name: string): Promise<void> {
    for (const key of await this.shared.sharedOf('images', userId)) {
      if (key === name || key === name + OF_SMALL) continue
      const old = await this.shared.sharedGet('images', key)
      if (old !== undefined) await this.shared.sharedSwap('images', key, old, undefined)
    }
  }
}
