/** The same of both storages: a folder on the disk, and a bucket of a real S3-compatible server. */
import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { DiskStorage } from '../../src/files/disk.js'
import { newFileId } from '../../src/files/ids.js'
import { S3Storage } from '../../src/files/s3.js'
import type { Storage } from '../../src/files/storage.js'
import { s3Server } from '../helpers/s3.js'

const [ANN, BOB] = ['100000001', '200000001']

const all = async <T>(found: AsyncIterable<T>): Promise<T[]> => {
  const list: T[] = []
  for await (const one of found) list.push(one)
  return list.sort()
}

function suite(name: string, open: (t: Test, dir: string) => Promise<Storage>): void {
  t.test(name, async t => {
    const dir = t.testdir()
    const storage = await open(t, join(dir, 'kept'))
    const put = async (owner: string, bytes: Buffer) => {
      const id = newFileId(owner)
      const path = join(dir, id)
      writeFileSync(path, bytes)
      await storage.put(id, path, bytes.length)
      return id
    }
    const range = async (id: string, start: number, end: number) =>
      buffer(await storage.read(id, { start, end }))

    const bytes = randomBytes(200_000)
    const [one, two, other] = [await put(ANN, bytes), await put(ANN, Buffer.from('2')), await put(BOB, bytes)]
    t.same(await range(one, 0, bytes.length - 1), bytes)
    t.same(await range(one, 100, 199), bytes.subarray(100, 200))
    t.same(await range(two, 0, 0), Buffer.from('2'))
    t.equal(await storage.sizeOf(one), bytes.length)
    t.same(await buffer(await storage.read(one, { start: 5, end: 9 }, bytes.length)), bytes.subarray(5, 10))
    await t.rejects(storage.read(one, { start: 5, end: 9 }, bytes.length + 1), of('STORE_UNAVAILABLE'))
    t.same(await all(storage.owners()), [ANN, BOB])
    t.same(await all(storage.list(ANN)), [one, two].sort())
    t.same(await all(storage.list('300000001')), [])

    await storage.remove(two)
    await storage.remove(two)
    t.equal(await storage.sizeOf(two), undefined)
    await t.rejects(storage.read(two, { start: 0, end: 0 }), of('STORE_UNAVAILABLE'))
    t.same(await all(storage.list(ANN)), [one])

    await storage.removeAll(ANN)
    await storage.removeAll(ANN)
    t.same(await all(storage.owners()), [BOB])
    t.same(await range(other, 0, 9), bytes.subarray(0, 10))
  })
}

const of = (kind: string) => ({ kind }) as unknown as Error

suite('disk', async (_t, dir) => new DiskStorage(dir))

suite('S3', async (t, dir) => {
  const server = await s3Server(t, dir)
  return new S3Storage({ ...server, prefix: 'chat/', timeoutMs: 5000 })
})

t.test('disk: what else is in the folder is no file', async t => {
  const dir = t.testdir()
  mkdirSync(join(dir, '01', ANN), { recursive: true })
  mkdirSync(join(dir, 'xx', BOB), { recursive: true })
  writeFileSync(join(dir, '01', ANN, 'README'), '')
  const storage = new DiskStorage(dir)
  t.same(await all(storage.owners()), [ANN])
  t.same(await all(storage.list(ANN)), [])
})

t.test('S3: a service that is not there, or knows no such key, is a store that is not available', async t => {
  const server = await s3Server(t, t.testdir())
  const read = (options: object) =>
    new S3Storage({ ...server, prefix: '', timeoutMs: 1000, ...options }).read(newFileId(ANN), {
      start: 0,
      end: 0,
    })
  await t.rejects(read({ endpoint: 'http://127.0.0.1:1' }), of('STORE_UNAVAILABLE'))
  await t.rejects(read({ bucket: 'other' }), of('STORE_UNAVAILABLE'))
  await t.rejects(read({ secretKey: 'wrong' }), of('STORE_UNAVAILABLE'))
})
