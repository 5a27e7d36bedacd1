/** The data format of the MongoDB store: its number, and the rewrite of messages of format 1. */
import type { AnyBulkWriteOperation } from 'mongodb'
import { headerOf } from '../../core/message.js'
import { MESSAGE_KINDS } from '../../core/message-kinds.js'
import { DATA_FORMAT, type OldData, refuseNewer, UPGRADE_ROWS } from '../upgrade.js'
import type { MessageDocument } from './documents.js'
import type { MongoEnv } from './env.js'
import type { MongoTexts } from './texts.js'

const ID = { _id: 'data' } as const
const OLD = { kind: { $exists: false } } as const

/**
 * Several gateways may upgrade one database at the same time, so each step is idempotent. A gateway of version 0.1.0
 * may still run and write messages of format 1, so both formats stay readable.
 */
export class MongoFormat implements OldData {
  constructor(
    private readonly env: MongoEnv,
    private readonly texts: MongoTexts,
  ) {}

  /** Without accounts there is nothing to upgrade. */
  async old(): Promise<number | undefined> {
    const { number = 1 } = (await this.#find()) ?? {}
    if (number >= DATA_FORMAT) return undefined
    const account = await this.env.run(() => this.env.users.findOne({}, { projection: { _id: 1 } }))
    return account === null ? undefined : number
  }

  /**
   * Stores the current number.
   * @throws GatewayError STORE_UNAVAILABLE, also if a newer program has written this data
   */
  async begin(): Promise<void> {
    const found = await this.#find()
    refuseNewer(`the database ${this.env.options.database}`, found?.number ?? 0)
    if (found?.number === DATA_FORMAT) return
    const update = { $max: { number: DATA_FORMAT }, $unset: { isUpgraded: '', upTo: '' } } as const
    await this.env.run(() => this.env.format.updateOne(ID, update, { upsert: true }))
  }

  async upgradeSome(): Promise<boolean> {
    const state = await this.#find()
    if (state?.isUpgraded) return false
    const page = await this.env.run(() =>
      this.env.messages
        .find(state?.upTo === undefined ? {} : { _id: { $gt: state.upTo } }, {
          projection: { kind: 1, inbox: 1, seq: 1, id: 1, text: 1 },
        })
        .sort({ _id: 1 })
        .limit(UPGRADE_ROWS)
        .toArray(),
    )
    const last = page.at(-1)
    if (last !== undefined) await this.#rewrite(page.filter(({ kind }) => kind === undefined))
    const update = last === undefined ? { $set: { isUpgraded: true } } : { $max: { upTo: last._id } }
    await this.env.run(() => this.env.format.updateOne(ID, update))
    return last !== undefined
  }

  async #rewrite(old: readonly (MessageDocument & { readonly _id: string })[]): Promise<void> {
    if (old.length === 0) return
    const texts = await this.env.run(() => this.texts.textsOf(old))
    const writes = old.flatMap(
      ({ _id, id, text = texts.get(id) }): AnyBulkWriteOperation<MessageDocument>[] => {
        if (text === undefined) return []
        const { kind, sender } = headerOf(text)
        return [
          {
            updateOne: {
              filter: { _id, ...OLD },
              update: { $set: { kind: MESSAGE_KINDS[kind].letter, sender } },
            },
          },
        ]
      },
    )
    if (writes.length > 0) await this.env.run(() => this.env.messages.bulkWrite(writes, { ordered: false }))
  }

  #find() {
    return this.env.run(() => this.env.format.findOne(ID))
  }
}
