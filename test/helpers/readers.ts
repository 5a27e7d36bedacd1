/** The table of LMDB's readers, 126 places, of a store that this process has open. */
import { join } from 'node:path'
import { open, type RootDatabase } from 'lmdb'
import type { Test } from 'tap'
import { GatewayError } from '../../src/core/errors.js'

/** A second way into a store's environment, as wide as the store's own. @param dir the one that holds `data.mdb` */
export function rootOf(t: Test, dir: string): RootDatabase {
  const root = open({ path: dir, noSubdir: false, maxDbs: 64, eventTurnBatching: false })
  t.teardown(() => root.close())
  return root
}

/** How many places are taken. */
export const readersIn = (root: RootDatabase): number =>
  root
    .readerList()
    .split('\n')
    .filter(row => /^\s*\d/.test(row)).length

export const storeDir = (dataDir: string): string => join(dataDir, 'store')

/** Whether all of `calls` reject with what the gateway knows, and nothing else. */
export async function allRefused(calls: Iterable<Promise<unknown>>): Promise<boolean> {
  const outcomes = await Promise.allSettled(calls)
  return outcomes.every(one => one.status === 'rejected' && one.reason instanceof GatewayError)
}
