/** Makes, checks and copies stores as the config says. */
import { accessSync, constants, existsSync, readdirSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { type Config, ConfigError } from '../config/config.js'
import { GatewayError } from '../core/errors.js'
import type { CopyableStore } from '../store/contents.js'
import { copyStore, type OnCopied } from '../store/copy.js'
import type { StoreTimes } from '../store/embedded/commits.js'
import { checkFile, type FileCheck } from '../store/embedded/file.js'
import { EmbeddedStore } from '../store/embedded/store.js'
import type { MongoOptions } from '../store/mongodb/env.js'
import { DATA_FORMAT, type UpgradeBegun, type UpgradeOptions } from '../store/upgrade.js'

export type StoreType = Config['store']['type']

export const WHOLLY: FileCheck = { pages: 'always', timeoutMs: Number.POSITIVE_INFINITY }

interface StoreUse {
  /** How the file is checked before it is opened. Default: as at a start. */
  readonly check?: FileCheck
  /** Whether data of an older format is upgraded. Default: true. */
  readonly upgrade?: boolean
  /** Told when an upgrade begins. */
  readonly onUpgrade?: (begun: UpgradeBegun) => void
  /** See UpgradeOptions. */
  readonly onBackUp?: UpgradeOptions['onBackUp']
  /** Called with how long commits and syncs of the embedded store take. */
  readonly times?: StoreTimes
}

/**
 * The MongoDB driver is loaded only if it is used: it takes 10 MiB.
 * @param type default: the one that the config names
 */
export async function makeStore(
  config: Config,
  type: StoreType = config.store.type,
  use: StoreUse = {},
): Promise<CopyableStore> {
  if (type === 'embedded') return makeEmbedded(config, use)
  const { MongoStore } = await import('../store/mongodb/store.js')
  return new MongoStore({ ...mongoOptions(config), upgrade: upgradeOptions(use) })
}

const upgradeOptions = (
  { upgrade = true, onUpgrade, onBackUp }: StoreUse,
  backupDir?: string,
): UpgradeOptions | false =>
  upgrade && {
    ...(onUpgrade && { onBegin: onUpgrade }),
    ...(onBackUp && { onBackUp }),
    ...(backupDir !== undefined && { backupDir }),
  }

export function makeEmbedded({ data, store, dedup }: Config, use: StoreUse): EmbeddedStore {
  const backupDir = store.upgradeBackup ? resolve(data.dir) : undefined
  return new EmbeddedStore({
    // No dot in the last part: lmdb takes such a path for a file.
    dir: join(data.dir, 'store'),
    durability: store.durability,
    dedupWindowMs: dedup.window,
    check: use.check ?? { pages: 'unclean', timeoutMs: store.checkTimeout },
    upgrade: upgradeOptions(use, backupDir),
    times: use.times,
  })
}

function mongoOptions({ store, dedup }: Pick<Config, 'store' | 'dedup'>): MongoOptions {
  const { timeout, startTimeout, ...rest } = store.mongodb
  return { ...rest, timeoutMs: timeout, startTimeoutMs: startTimeout, dedupWindowMs: dedup.window }
}

/**
 * Whether there is a store to open. Of MongoDB only the server knows, so it counts as there.
 * @throws ConfigError where this user may not look: there may be one
 */
export function hasStore({ data, store }: Config): boolean {
  if (store.type === 'mongodb') return true
  try {
    return statSync(join(data.dir, 'store', 'data.mdb'), { throwIfNoEntry: false }) !== undefined
  } catch (thrown) {
    const { code, message } = thrown as NodeJS.ErrnoException
    if (code === 'ENOTDIR') return false
    throw new ConfigError([`data.dir: cannot look into it as this user: ${message}`])
  }
}

/** Size of all files of the embedded store; undefined if its folder is gone. */
export function storeBytes({ data }: Config): number | undefined {
  const dir = join(data.dir, 'store')
  try {
    const sizes = readdirSync(dir).map(
      name => statSync(join(dir, name), { throwIfNoEntry: false })?.size ?? 0,
    )
    return sizes.reduce((sum, size) => sum + size, 0)
  } catch {
    return undefined
  }
}

/**
 * Checks the store if there is one, and makes none. A store that a gateway has open is not checked.
 * @returns what it found, in words. @throws GatewayError, or the system's error, saying what is wrong with it
 */
export async function checkStore(config: Config): Promise<string> {
  if (config.store.type === 'mongodb') {
    const { MongoEnv } = await import('../store/mongodb/env.js')
    await new MongoEnv(mongoOptions(config)).check()
    return 'MongoDB answers'
  }
  const dir = resolve(config.data.dir)
  if (!hasStore(config)) {
    checkFile(join(dir, 'store'), WHOLLY)
    checkCanMake(join(dir, 'store'))
    return `no store yet in ${dir}: serve makes it`
  }
  const store = makeEmbedded(config, { check: WHOLLY, upgrade: false })
  try {
    await store.open()
    await store.ping()
    return store.isOldFormat
      ? `store is good; serve upgrades its data to format ${DATA_FORMAT}`
      : 'store is good'
  } catch (error) {
    const by = inUse(error)
    if (by === undefined) throw error
    return `store is ${by}, not checked`
  } finally {
    await store.close()
  }
}

/** Only the error's text says that a store is in use; its code is the one of any store that cannot be used. */
export const inUse = (error: unknown): string | undefined =>
  error instanceof GatewayError ? /in use by process \d+/.exec(error.message)?.[0] : undefined

/** @throws the system's error if a folder `dir` could not be used or made */
function checkCanMake(dir: string): void {
  // With the slash at its end, a path to a file is an error, too.
  if (existsSync(dir) || dirname(dir) === dir) accessSync(`${dir}/`, constants.W_OK | constants.X_OK)
  else checkCanMake(dirname(dir))
}

/** Copies one kind of store into the other. @param say called with a line of what is done @throws GatewayError */
export async function copyStores(
  config: Config,
  { from, to }: Record<'from' | 'to', StoreType>,
  say: (line: string) => void,
  onCopied: OnCopied,
): Promise<void> {
  const source = await makeStore(config, from, { upgrade: false })
  const target = await makeStore(config, to)
  try {
    await source.open()
    await target.open()
    await copyStore(source, target, say, onCopied)
  } finally {
    await Promise.all([source.close(), target.close()])
  }
}
