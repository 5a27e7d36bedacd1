/** The data format of the embedded store: its number, and the rewrite of rows of format 1. */
import { DATA_FORMAT, type OldData, refuseNewer, UPGRADE_ROWS } from '../upgrade.js'
import type { EmbeddedEnv } from './env.js'
import { FIRST, type Key, LAST } from './keys.js'
import { Rows } from './rows.js'
import type { OpenTable, Table } from './table.js'

/** Characters of rows rewritten in one step; one row is always let through. */
const STEP_CHARS = 1_000_000

interface State {
  readonly number: number
  /** Key of the last row that was looked at. */
  readonly upTo?: readonly (string | number)[]
  /** No row of an older format is left. */
  readonly isUpgraded: boolean
}

/** Version 0.1.0 stored no number. */
const NO_NUMBER: State = { number: 1, isUpgraded: false }
const KEY = ['state']

export class DataFormat implements OldData {
  readonly #env: EmbeddedEnv
  /** [KEY] → state. */
  readonly #table: Table<State>
  readonly #rows: Rows
  /** Of all accounts that there ever were: what is in the store belongs to one of them. */
  readonly #ordinals: Table<number>

  /** @throws GatewayError STORE_UNAVAILABLE if a newer program has written this data */
  constructor(env: EmbeddedEnv, table: OpenTable, dir: string) {
    this.#env = env
    this.#table = table('format')
    this.#rows = new Rows(table)
    this.#ordinals = table('ordinals')
    refuseNewer(dir, this.#state.number)
  }

  /** Whether rows of an older format may be left. */
  get isOld(): boolean {
    return !this.#state.isUpgraded
  }

  async old(): Promise<number | undefined> {
    const { number } = this.#state
    return number < DATA_FORMAT && this.#ordinals.getStats().entryCount > 0 ? number : undefined
  }

  /** Stores today's number. Call it before anything is written that an older program cannot read. */
  async begin(): Promise<void> {
    if (this.#state.number === DATA_FORMAT) return
    await this.#env.write(() => void this.#table.put(KEY, { number: DATA_FORMAT, isUpgraded: false }))
  }

  async upgradeSome(): Promise<boolean> {
    if (!this.isOld) return false
    return this.#env.transaction(() => {
      const { upTo, count } = this.#rewrite([...(this.#state.upTo ?? []), FIRST])
      const isUpgraded = count === 0
      this.#table.put(KEY, { number: DATA_FORMAT, isUpgraded, ...(upTo && { upTo }) })
      return !isUpgraded
    }, UPGRADE_ROWS)
  }

  /** A row may have been removed since the last step, but within this transaction nothing changes. */
  #rewrite(start: Key): { upTo: (string | number)[] | undefined; count: number } {
    const page: { key: (string | number)[]; value: string }[] = []
    let chars = 0
    for (const row of this.#rows.table.getRange({ start, end: [LAST], limit: UPGRADE_ROWS })) {
      page.push(row)
      chars += row.value.length
      if (chars >= STEP_CHARS) break
    }
    for (const { key, value } of page) {
      const upgraded = this.#rows.upgraded(String(key[0]), value)
      if (upgraded !== undefined) this.#rows.table.put(key, upgraded)
    }
    return { upTo: page.at(-1)?.key, count: page.length }
  }

  get #state(): State {
    return this.#table.get(KEY) ?? NO_NUMBER
  }
}
