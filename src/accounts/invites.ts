/** Invites: who has the code of one may register. The store has digests of the codes, so that who reads it has none. */

import { createHash } from 'node:crypto'
import { GatewayError } from '../core/errors.js'
import { decodeRecord, encodeRecord } from '../core/record.js'
import { asMeant, randomCode } from '../core/typed-code.js'
import { Serial } from '../flow/serial.js'
import type { KeyValue, KvKey } from '../store/store.js'

/** Times are ms since the epoch. */
interface Row {
  readonly uses: number
  /** Accounts that were made by it, and those that are being made. */
  readonly used: number
  readonly createdAt: number
  /** 0 = never. */
  readonly expiresAt: number
}

export interface Invite extends Row {
  /** Tells it from others, and cannot be used to register. */
  readonly id: string
}

/** 5 bits each, so 80: nobody guesses one, however many there are. */
const CODE_CHARS = 16
const ID_CHARS = 8
const MAX_INVITES = 10_000
const PREFIX = 'invite'

export class Invites {
  /** Two registrations by one invite must not both take its last use. */
  readonly #turns = new Serial()

  constructor(private readonly kv: KeyValue) {}

  /** @param expiresAt ms since the epoch; 0 = never @returns with the code, which is nowhere else @throws GatewayError BAD_FIELD if there are too many */
  create(uses: number, expiresAt: number): Promise<Invite & { readonly code: string }> {
    return this.#turns.run(async () => {
      if ((await this.#all()).length >= MAX_INVITES)
        throw new GatewayError('BAD_FIELD', {
          field: 'uses',
          reason: `there are ${MAX_INVITES} invites: revoke some`,
        })
      const code = newCode()
      const digest = digestOf(code)
      const row: Row = { uses, used: 0, createdAt: Date.now(), expiresAt }
      await this.#put(digest, row)
      return { id: idOf(digest), code, ...row }
    })
  }

  /** Those that have not expired, oldest first. */
  async list(): Promise<Invite[]> {
    const all = await this.#turns.run(() => this.#all())
    return all
      .map(([digest, row]) => ({ id: idOf(digest), ...row }))
      .sort((a, b) => a.createdAt - b.createdAt)
  }

  /** @param name id or code @throws GatewayError BAD_FIELD if there is none */
  revoke(name: string): Promise<Invite> {
    return this.#turns.run(async () => {
      const digest = digestOf(name)
      const found = (await this.#all()).find(([key]) => key === digest || idOf(key) === name)
      if (found === undefined)
        throw new GatewayError('BAD_FIELD', { field: 'invite', reason: 'no such invite' })
      await this.kv.kvWrite([{ remove: 'meta', key: keyOf(found[0]) }])
      return { id: idOf(found[0]), ...found[1] }
    })
  }

  /**
   * Takes one use, then does the work; gives the use back if that fails. After a crash in between it stays taken.
   * @param work given the id of the invite
   * @throws GatewayError BAD_INVITE; what `work` throws
   */
  async use<T>(code: string | undefined, work: (id: string) => Promise<T>): Promise<T> {
    if (code === undefined) throw new GatewayError('BAD_INVITE', { field: 'invite', reason: 'is missing' })
    const digest = digestOf(code)
    await this.#count(digest, 1)
    try {
      return await work(idOf(digest))
    } catch (thrown) {
      // If this fails as well, the use is lost, and the reason of the first is what counts.
      await this.#count(digest, -1).catch(() => undefined)
      throw thrown
    }
  }

  #count(digest: string, by: 1 | -1): Promise<void> {
    return this.#turns.run(async () => {
      const value = await this.kv.kvGet('meta', keyOf(digest))
      const row = value && decode(value)
      const isLeft = row !== undefined && (by < 0 || (isGood(row) && row.used < row.uses))
      if (!isLeft)
        throw new GatewayError('BAD_INVITE', { field: 'invite', reason: 'is unknown, used up or expired' })
      await this.#put(digest, { ...row, used: row.used + by })
    })
  }

  /** What has expired is removed. */
  async #all(): Promise<[digest: string, row: Row][]> {
    const found: [string, Row][] = []
    for await (const { key, value } of this.kv.kvRange('meta', [PREFIX])) {
      const row = decode(value)
      if (isGood(row)) found.push([String(key[1]), row])
      else await this.kv.kvWrite([{ remove: 'meta', key }])
    }
    return found
  }

  #put(digest: string, row: Row): Promise<void> {
    return this.kv.kvWrite([{ put: 'meta', key: keyOf(digest), value: encodeRecord(row) }])
  }
}

const keyOf = (digest: string): KvKey => [PREFIX, digest]
const idOf = (digest: string): string => digest.slice(0, ID_CHARS)
const decode = decodeRecord<Row>
const isGood = ({ expiresAt }: Row): boolean => expiresAt === 0 || expiresAt > Date.now()

/** `XXXX-XXXX-XXXX-XXXX` */
const newCode = (): string => randomCode(CODE_CHARS).replace(/.{4}(?=.)/g, '$&-')

/** As it is typed: in either case, with or without hyphens and spaces, O for 0, I and L for 1. */
function digestOf(code: string): string {
  const plain = asMeant(code).replace(/[\s-]/g, '')
  return createHash('sha256').update(plain).digest('base64url')
}
