/** File ids and the tokens of links and uploads. A token says what it allows and until when; nothing of it is stored. */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { USER_ID, type UserId } from '../core/model.js'
import type { KeyValue } from '../store/store.js'

/** Regular expression source of a file id: its owner, and 16 random bytes. Nobody guesses one. */
export const FILE_ID = `${USER_ID}-[\\w-]{22}`

const WHOLE = new RegExp(`^${FILE_ID}$`)

export const isFileId = (id: string): boolean => WHOLE.test(id)

export const newFileId = (owner: UserId): string => `${owner}-${randomBytes(16).toString('base64url')}`

export const ownerOf = (id: string): UserId => id.slice(0, 9)

/** The part behind the owner: the name of the file in its owner's folder. */
export const nameOf = (id: string): string => id.slice(10)

/** `put`: to upload this file; `get`: to read it. */
export type Purpose = 'put' | 'get'

export interface Grant {
  /** Whose link it is. */
  readonly userId: UserId
  /** ms since the epoch, whole seconds. */
  readonly expiresAt: number
}

const GRANT_BYTES = 8
/** 128 bits of HMAC-SHA256 (RFC 2104, 5). */
const MARK_BYTES = 16
const TOKEN = /^[\w-]{32}$/
const PLACE = ['file-key'] as const

/** Signs and checks tokens by a key of the store, which all gateways of one store share. */
export class FileTokens {
  private constructor(private readonly key: Uint8Array) {}

  /** @throws GatewayError */
  static async open(kv: KeyValue): Promise<FileTokens> {
    const kept = await kv.kvGet('meta', PLACE)
    const key = kept ?? randomBytes(32)
    if (kept === undefined) await kv.kvWrite([{ put: 'meta', key: PLACE, value: key }])
    return new FileTokens(key)
  }

  make(purpose: Purpose, id: string, { userId, expiresAt }: Grant): string {
    const grant = Buffer.alloc(GRANT_BYTES)
    grant.writeUInt32BE(Math.floor(expiresAt / 1000))
    grant.writeUInt32BE(Number(userId), 4)
    return Buffer.concat([grant, this.#mark(purpose, id, grant)]).toString('base64url')
  }

  /** @returns undefined if it is none of ours for this file and purpose; whether it has expired is for the caller to say */
  read(purpose: Purpose, id: string, token: string): Grant | undefined {
    if (!TOKEN.test(token)) return undefined
    const bytes = Buffer.from(token, 'base64url')
    const grant = bytes.subarray(0, GRANT_BYTES)
    if (!timingSafeEqual(bytes.subarray(GRANT_BYTES), this.#mark(purpose, id, grant))) return undefined
    return { expiresAt: grant.readUInt32BE() * 1000, userId: String(grant.readUInt32BE(4)) }
  }

  #mark(purpose: Purpose, id: string, grant: Buffer): Buffer {
    const mac = createHmac('sha256', this.key).update(`${purpose} ${id} `).update(grant)
    return mac.digest().subarray(0, MARK_BYTES)
  }
}
