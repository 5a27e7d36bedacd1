/**
 * What operators do with a whole store: verify, back up, restore and compact it. A backup is a file of the embedded store,
 * whatever the store is.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type Config, ConfigError } from '../config/config.js'
import type { CopyableStore } from '../store/contents.js'
import { copyStore, refusePart } from '../store/copy.js'
import { copyUsedStore } from '../store/copy-used.js'
import { makeBackup, restoreBackup } from '../store/embedded/backup.js'
import type { Compacted } from '../store/embedded/compact.js'
import { Verification, type Verified } from '../store/verify.js'
import { hasStore, inUse, makeEmbedded, makeStore, WHOLLY } from './stores.js'

/**
 * Reads all of a store that no gateway has open.
 * @param onRow called with the count of rows so far
 * @throws ConfigError if there is none; GatewayError if it is in use or damaged
 */
export async function verifyStore(config: Config, onRow?: (rows: number) => void): Promise<Verified> {
  if (!hasStore(config)) throw new ConfigError([`data.dir: no store in ${config.data.dir}`])
  const store = await makeStore(config, config.store.type, {
    check: WHOLLY,
    upgrade: false,
  })
  try {
    await store.open()
    await refusePart(store)
    return await new Verification(store, onRow).run()
  } finally {
    await store.close()
  }
}

/**
 * Writes a copy of an open store into one file, while it is used. It has all that was acknowledged before the call.
 * @returns its bytes
 * @throws GatewayError see CopyableStore.backup
 */
export async function backupStore(config: Config, store: CopyableStore, file: string): Promise<number> {
  if (config.store.type === 'embedded') return store.backup(file)
  return makeBackup(file, async folder => {
    const copy = await makeStore(inFolder(config, folder), 'embedded')
    try {
      await copy.open()
      await copyUsedStore(store, copy)
      // Without free pages and what only an open store needs.
      await copy.backup(join(folder, 'data.mdb'))
    } finally {
      await copy.close()
    }
  })
}

/** The config of an embedded store in another folder, which nobody needs after a failure of the machine. */
const inFolder = (config: Config, dir: string): Config => ({
  ...config,
  data: { ...config.data, dir },
  store: { ...config.store, durability: 'commit' },
})

/** Where the restored store is: its folder, or the name of its database. */
export type Restored = { readonly bytes: number } & ({ readonly dir: string } | { readonly database: string })

/**
 * Makes the store of the config of a backup.
 * @throws GatewayError if there is a store already, or the file is no whole backup
 */
export function restoreStore(config: Config, file: string): Promise<Restored> {
  return config.store.type === 'embedded' ? restoreEmbedded(config, file) : restoreMongo(config, file)
}

/** Opens it once, to see that it can be. */
async function restoreEmbedded(config: Config, file: string): Promise<Restored> {
  const dir = join(resolve(config.data.dir), 'store')
  const { bytes, undo } = await restoreBackup(file, dir)
  const store = await makeStore(config, 'embedded', { upgrade: false })
  try {
    await store.open()
  } catch (thrown) {
    await store.close()
    // A gateway that has opened it since has it for its own.
    if (inUse(thrown) === undefined) undo()
    throw thrown
  }
  await store.close()
  return { dir, bytes }
}

/** Through an embedded store in a folder in `data.dir`, into a database that is empty, or in which this began before. */
async function restoreMongo(config: Config, file: string): Promise<Restored> {
  const dir = resolve(config.data.dir)
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const folder = mkdtempSync(join(dir, 'restore-'))
  try {
    const { bytes } = await restoreBackup(file, join(folder, 'store'))
    const source = await makeStore(inFolder(config, folder), 'embedded', { upgrade: false })
    const target = await makeStore(config, 'mongodb')
    try {
      await source.open()
      await target.open()
      await copyStore(source, target, () => undefined)
    } finally {
      await Promise.all([source.close(), target.close()])
    }
    return { database: config.store.mongodb.database, bytes }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/**
 * Makes the file of an embedded store that no gateway has open small.
 * @throws ConfigError for another kind of store, or none; GatewayError, and then the store is as it was
 */
export async function compactStore(config: Config): Promise<Compacted & { readonly dir: string }> {
  if (config.store.type !== 'embedded')
    throw new ConfigError(['store.type: must be embedded; MongoDB has its own: compact'])
  if (!hasStore(config)) throw new ConfigError([`data.dir: no store in ${config.data.dir}`])
  // All pages: a damaged one must not get into the new file, beside which there is no old one.
  const store = makeEmbedded(config, { check: WHOLLY, upgrade: false })
  try {
    await store.open()
    return { dir: join(resolve(config.data.dir), 'store'), ...(await store.compact()) }
  } finally {
    await store.close()
  }
}
