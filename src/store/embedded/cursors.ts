/** Cursors of devices in the embedded store. */
import type { Cursor, UserId } from '../../core/model.js'
import type { DeletedUsers, Purgeable } from '../deleted.js'
import type { CursorMove, CursorStore, StoredDevice } from '../store.js'
import type { EmbeddedEnv } from './env.js'
import { boundedKey, FIRST, LAST } from './keys.js'
import type { OpenTable, Table } from './table.js'
import { userNumber } from './users.js'

/** Devices looked at, or removed, without a pause. */
const CHUNK = 1000

interface Device extends Cursor {
  readonly seenAt: number
}

export class EmbeddedCursors implements CursorStore, Purgeable {
  readonly #env: EmbeddedEnv
  /** [owner, device] → its place. */
  readonly #devices: Table<Device>
  /** [owner] → furthest confirmed seq. */
  readonly #furthest: Table<number>

  constructor(
    env: EmbeddedEnv,
    table: OpenTable,
    private readonly deleted: DeletedUsers,
  ) {
    this.#env = env
    this.#devices = table('devices')
    this.#furthest = table('furthest')
  }

  async cursor(userId: UserId, device: string): Promise<Cursor | undefined> {
    const found = this.#env.read(() => this.#devices.get([userNumber(userId), device]))
    if (found === undefined) return undefined
    const { seenAt: _, ...cursor } = found
    return cursor
  }

  async devices(userId: UserId, limit: number): Promise<StoredDevice[]> {
    const owner = userNumber(userId)
    const bounds = { start: [owner], end: [owner, LAST], limit }
    return this.#env.read(() =>
      Array.from(this.#devices.getRange(bounds), ({ key, value }) => ({ ...value, device: String(key[1]) })),
    )
  }

  async furthest(userId: UserId): Promise<number> {
    return this.#env.read(() => this.#furthest.get([userNumber(userId)]) ?? 0)
  }

  async slowest(userId: UserId, seenSince = 0): Promise<number | undefined> {
    const owner = userNumber(userId)
    return this.#env.read(() => {
      let lowest: number | undefined
      for (const { value } of this.#devices.getRange({ start: [owner], end: [owner, LAST] })) {
        if (value.seenAt >= seenSince) lowest = Math.min(lowest ?? value.confirmed, value.confirmed)
      }
      return lowest
    })
  }

  async moveCursors(moves: readonly CursorMove[]): Promise<void> {
    const kept = moves.filter(({ userId }) => !this.deleted.has(userId))
    const keyed = kept.map(move => ({
      ...move,
      key: boundedKey([userNumber(move.userId), move.device] as const),
    }))
    await this.#env.transaction(() => {
      for (const move of keyed) this.#move(move.key, move)
    }, 2 * keyed.length)
  }

  #move(key: readonly [number, string], move: CursorMove): void {
    const { sent, released, settled, seenAt } = move
    const confirmed = Math.max(this.#devices.get(key)?.confirmed ?? 0, move.confirmed)
    this.#devices.put(key, { confirmed, sent, released, seenAt, ...(settled && { settled }) })
    const [owner] = key
    if (confirmed > (this.#furthest.get([owner]) ?? 0)) this.#furthest.put([owner], confirmed)
  }

  async forgetDevices(before: number): Promise<number> {
    let removed = 0
    let start: readonly (string | number | Uint8Array)[] = [FIRST]
    for (;;) {
      const page = this.#env.read(() =>
        Array.from(this.#devices.getRange({ start, end: [LAST], limit: CHUNK })),
      )
      const old = page.filter(({ key, value }) => key[1] !== '' && value.seenAt < before)
      removed += await this.#env.transaction(
        () =>
          this.#forget(
            old.map(({ key }) => key),
            before,
          ),
        old.length,
      )
      const last = page.at(-1)
      if (page.length < CHUNK || last === undefined) return removed
      start = [...last.key, FIRST]
    }
  }

  /** A device may have come back since its key was read. */
  #forget(keys: readonly (readonly (string | number)[])[], before: number): number {
    const gone = keys.filter(key => (this.#devices.get(key)?.seenAt ?? before) < before)
    for (const key of gone) this.#devices.remove(key)
    return gone.length
  }

  async purge(userId: UserId): Promise<void> {
    const owner = userNumber(userId)
    const purgeSome = () => this.#purgeSome(owner)
    while ((await this.#env.transaction(purgeSome, CHUNK)) === CHUNK);
  }

  /** @returns how many devices it removed */
  #purgeSome(owner: number): number {
    const page = Array.from(this.#devices.getRange({ start: [owner], end: [owner, LAST], limit: CHUNK }))
    for (const { key } of page) this.#devices.remove(key)
    this.#furthest.remove([owner])
    return page.length
  }
}
