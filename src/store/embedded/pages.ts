/**
 * All pages that LMDB's file uses, read without mapping it, so that damage is a word and not a signal. What is checked
 * is what LMDB itself takes for granted: that each page is there and of its kind, and that all it names lies within it,
 * or within the file. Values have no check sums, so damage within a value is not detected.
 */
import { fstatSync, readSync } from 'node:fs'
import { Damage, type Meta, NO_ROOT, PAGE_HEADER, readTree, TREE_BYTES, type Tree } from './meta-page.js'

const NODE_HEADER = 8
const [BRANCH, LEAF, OVERFLOW] = [0x01, 0x02, 0x04]
/** Those, META, and two kinds that this store has none of; other flags say nothing on the disk. */
const KINDS = 0x6f
/** Flags of a node: its data is on pages of its own, or is a database. */
const [BIG, DATABASE, DUPLICATES] = [0x01, 0x02, 0x04]
/** Of a database: several values a key, and keys in another order. No table of this store. */
const FOREIGN = 0x7e
/** MDB_ovpage: where the data is, who wrote it, how many pages. */
const OVERFLOW_BYTES = 24
/** CURSOR_STACK: LMDB's own limit. */
const MAX_DEPTH = 32
/** Pages read without a look at the clock. */
const PAGES_PER_LOOK = 1024

/** How one tree is read. */
interface Visit {
  /** Keys on a branch page: LMDB aborts where there are fewer. */
  readonly least: number
  leaf(node: Node): void
}

interface Node {
  readonly flags: number
  readonly size: number
  readonly data: Buffer
}

/** @returns false if `deadline` (performance.now()) came first @throws Damage */
export function checkPages(file: number, meta: Meta, deadline: number): boolean {
  return new PageWalk(file, meta, deadline).run()
}

class TimeOver extends Error {}

class PageWalk {
  readonly #bytes: number
  readonly #seen: Uint8Array
  #left = PAGES_PER_LOOK

  constructor(
    private readonly file: number,
    private readonly meta: Meta,
    private readonly deadline: number,
  ) {
    this.#bytes = fstatSync(file).size
    // The last pages may be free, and then need not be in the file; but by no more than one large message.
    if (meta.lastPage * meta.pageSize > this.#bytes + 2 ** 32) throw new Damage('it is far too short')
    this.#seen = new Uint8Array(Math.floor(meta.lastPage / 8) + 1)
  }

  run(): boolean {
    const { free, main } = this.meta
    try {
      this.#tree(free, { least: 1, leaf: node => this.#freed(node) })
      this.#tree(main, { least: 2, leaf: node => this.#named(node) })
      return true
    } catch (thrown) {
      if (thrown instanceof TimeOver) return false
      throw thrown
    }
  }

  #tree({ root, depth }: Tree, visit: Visit): void {
    if (root === NO_ROOT) return
    if (depth < 1 || depth > MAX_DEPTH) throw new Damage(`a database is ${depth} pages deep`)
    this.#page(Number(root), depth, visit)
  }

  /** @param depth levels from here down to the leaves, this one included */
  #page(number: number, depth: number, visit: Visit): void {
    const page = this.#read(number, this.meta.pageSize)
    const kind = depth > 1 ? BRANCH : LEAF
    if ((page.readUInt16LE(18) & KINDS) !== kind) throw new Damage(`page ${number} is of another kind`)
    const [lower, upper] = [page.readUInt16LE(20), page.readUInt16LE(22)]
    const least = 2 * (kind === BRANCH ? visit.least : 1)
    if (lower < least || lower % 2 !== 0 || lower > upper || upper > page.length - PAGE_HEADER)
      throw new Damage(`page ${number} is not laid out as a page`)
    for (let i = 0; i < lower; i += 2) {
      const node = page.subarray(PAGE_HEADER + page.readUInt16LE(PAGE_HEADER + i))
      if (node.length < NODE_HEADER || node.length > page.length - PAGE_HEADER - upper)
        throw new Damage(`page ${number} names what is not within it`)
      if (kind === BRANCH) this.#page(pageOf(node), depth - 1, visit)
      else visit.leaf(this.#leafNode(node, number))
    }
  }

  #leafNode(node: Buffer, number: number): Node {
    const flags = node.readUInt16LE(4)
    const size = node.readUInt32LE(0)
    const data = node.subarray(NODE_HEADER + node.readUInt16LE(6))
    const here = flags & BIG ? OVERFLOW_BYTES : size
    if (flags & DUPLICATES || data.length < here)
      throw new Damage(`page ${number} holds a value that does not fit`)
    if (!(flags & BIG)) return { flags, size, data: data.subarray(0, size) }
    return { flags, size, data: this.#overflow(data, size) }
  }

  /** @returns the data, or, of what is not looked into, its beginning */
  #overflow(place: Buffer, size: number): Buffer {
    const number = Number(place.readBigUInt64LE(0))
    const pages = Number(place.readBigUInt64LE(16))
    const { pageSize, lastPage } = this.meta
    const end = number * pageSize + PAGE_HEADER + size
    if (number + pages - 1 > lastPage || pages * pageSize < PAGE_HEADER + size || end > this.#bytes)
      throw new Damage(`a value on page ${number} does not end within the file`)
    const first = this.#read(number, Math.min(PAGE_HEADER + size, pageSize))
    if ((first.readUInt16LE(18) & KINDS) !== OVERFLOW || first.readUInt32LE(20) !== pages)
      throw new Damage(`page ${number} is not the beginning of a value`)
    return first.subarray(PAGE_HEADER)
  }

  /** An entry of the main tree: a database. */
  #named({ flags, data }: Node): void {
    if (!(flags & DATABASE)) return
    if (data.length !== TREE_BYTES) throw new Damage('a database has a record of the wrong size')
    const tree = readTree(data, 0)
    if (tree.flags & FOREIGN) throw new Damage('a database is of a kind that this store has none of')
    const leaf = ({ flags }: Node) => {
      if (flags & DATABASE) throw new Damage('a value says to be a database')
    }
    this.#tree(tree, { least: 2, leaf })
  }

  /** A list of free pages: their number, then page numbers, or less than 0 for a run, whose first page follows. */
  #freed({ size, data }: Node): void {
    if (size < 8 || (Number(data.readBigInt64LE(0)) + 1) * 8 > size)
      throw new Damage('a list of free pages is longer than its place')
    const end = Math.min(data.length - (data.length % 8), (Number(data.readBigInt64LE(0)) + 1) * 8)
    for (let at = 8; at < end; at += 8) {
      const entry = Number(data.readBigInt64LE(at))
      if (entry < 0) at += 8
      const first = entry < 0 ? (at < end ? Number(data.readBigInt64LE(at)) : 0) : entry
      if (first < 0 || first + Math.max(1, -entry) - 1 > this.meta.lastPage)
        throw new Damage('a list of free pages names some that are not there')
    }
  }

  #read(number: number, bytes: number): Buffer {
    if (--this.#left === 0) this.#look()
    if (!(number >= 2 && number <= this.meta.lastPage))
      throw new Damage(`it names page ${number}, which is none`)
    const bit = 1 << (number & 7)
    if ((this.#seen[number >> 3] ?? 0) & bit) throw new Damage(`page ${number} is used twice`)
    this.#seen[number >> 3] = (this.#seen[number >> 3] ?? 0) | bit
    const page = Buffer.allocUnsafe(bytes)
    if (readSync(this.file, page, 0, bytes, number * this.meta.pageSize) < bytes)
      throw new Damage(`page ${number} is behind its end`)
    if (Number(page.readBigUInt64LE(0)) !== number)
      throw new Damage(`page ${number} bears the number of another`)
    return page
  }

  #look(): void {
    this.#left = PAGES_PER_LOOK
    if (performance.now() > this.deadline) throw new TimeOver()
  }
}

/** Of a branch's node: 48 bits, the highest where a leaf's node has its flags. */
const pageOf = (node: Buffer): number => node.readUInt32LE(0) + node.readUInt16LE(4) * 2 ** 32
