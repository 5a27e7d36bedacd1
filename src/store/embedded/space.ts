/** How the pages of LMDB's file are used. */
import type { RootDatabase } from 'lmdb'

/** lmdb's types do not say what its statistics are; source: Env::toJSStat and Txn of lmdb 3.5 (src/env.cpp). */
interface TreeStats {
  readonly treeBranchPageCount: number
  readonly treeLeafPageCount: number
  readonly overflowPages: number
}
interface RootStats extends TreeStats {
  readonly pageSize: number
  readonly mapSize: number
  readonly lastPageNumber: number
  /** Of the list of free pages. */
  readonly free: TreeStats
  /** Of the list of databases. */
  readonly root: TreeStats
}

export interface Space {
  /** Bytes of pages that are to be used again, before the file grows. */
  readonly freeBytes: number
  /** Bytes of the memory map. */
  readonly mapBytes: number
}

const META_PAGES = 2

const pagesOf = ({ treeBranchPageCount, treeLeafPageCount, overflowPages }: TreeStats): number =>
  treeBranchPageCount + treeLeafPageCount + overflowPages

/** Some 10 µs a table; it reads no page. @param tables the other databases of the file, all that are open */
export function spaceOf(root: RootDatabase, tables: Iterable<{ getStats(): object }>): Space {
  const { pageSize, mapSize, lastPageNumber, free, root: names } = root.getStats() as RootStats
  let used = META_PAGES + pagesOf(free) + pagesOf(names)
  for (const table of tables) used += pagesOf(table.getStats() as TreeStats)
  return { freeBytes: Math.max(0, lastPageNumber + 1 - used) * pageSize, mapBytes: mapSize }
}
