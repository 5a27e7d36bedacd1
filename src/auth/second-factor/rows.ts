/** Reads and changes what an account has for a second factor, by compare and set: other gateways have the same row. */
import { GatewayError } from '../../core/errors.js'
import type { UserId } from '../../core/model.js'
import { KeyedSerial } from '../../flow/serial.js'
import type { Users } from '../../store/store.js'
import { type Factor, readFactor, writeFactor } from './record.js'

export type FactorStore = Pick<Users, 'findFactor' | 'replaceFactor'>

/** What a change leaves, and what comes of it. */
export interface Changed<T> {
  readonly factor: Factor
  readonly result: T
}

/** Others that change the same account's at the same moment. */
const MAX_RACES = 50

export class FactorRows {
  /** Changes of one account, one at a time here. */
  readonly #turns = new KeyedSerial()

  constructor(private readonly users: FactorStore) {}

  async read(userId: UserId): Promise<Factor> {
    return readFactor(await this.users.findFactor(userId))
  }

  /**
   * Reads, changes and writes, and does all of it again where another gateway has written in between.
   * @param work throws where nothing is to be changed
   */
  change<T>(userId: UserId, work: (factor: Factor) => Changed<T> | Promise<Changed<T>>): Promise<T> {
    return this.#turns.run(userId, async () => {
      for (let race = 0; race < MAX_RACES; race++) {
        const before = await this.users.findFactor(userId)
        const { factor, result } = await work(readFactor(before))
        const after = writeFactor(factor)
        if (after === before || (await this.users.replaceFactor(userId, before, after))) return result
      }
      throw new GatewayError('ERROR_AUTH_FAILED', { reason: 'changed by others at the same time' })
    })
  }
  /** Puts back what was before a change; does nothing where the row was changed since. */
  async takeBack(userId: UserId, after: Factor, before: Factor): Promise<void> {
    const replace = () => this.users.replaceFactor(userId, writeFactor(after), writeFactor(before))
    await this.#turns.run(userId, replace)
  }
}
