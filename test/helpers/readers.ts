/** The LMDB reader table (126 slots) of a store that this process has open. */
import { join } from 'node:path'
import { open, type RootDatabase } from 'lmdb'
import type { Test } from 'tap'
import { GatewayError } from '../../src/core/errors.js'

/** Opens a store's environment a second time, with the same options. @param dir folder of `data.mdb` */
export function rootOf(t: Test, dir: string): RootDatabase {
  const root = open({ path: dir, noSubdir: false, maxDbs: 64, eventTurnBatching: false })
  t.teardown(() => root.close())
  return root
}

/** @returns number of used slots */
export const readersIn = (root: RootDatabase): number =>
  root
    .readerList()
    .split('\n')
    .filter(row => /^\s*\d/.test(row)).length

export const storeDir = (dataDir: string): string => join(dataDir, 'store')

/** Whether all `calls` reject with a GatewayError and nothing else. */
export async function allRefused(calls: Iterable<Promise<unknown>>): Promise<boolean> {
  const outcomes = await Promise.allSettled(calls)
  return outcomes.every(one => one.status === 'rejected' && one.reason instanceof GatewayError)
}
