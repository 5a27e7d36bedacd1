import t from 'tap'
import { ByteQueue } from '../../src/mqtt/wire/byte-queue.js'

const bytes = (text: string): Buffer => Buffer.from(text)

t.test('joins whole pieces up to the limit, in order', async t => {
  const queue = new ByteQueue()
  for (const piece of ['ab', 'c', 'def', 'gh']) queue.push(bytes(piece))
  t.equal(queue.bytes, 8)
  t.same(queue.take(3), bytes('abc'))
  t.same(queue.take(4), bytes('def'))
  t.equal(queue.bytes, 2)
  t.same(queue.take(4), bytes('gh'))
  t.equal(queue.take(4).length, 0)
  t.equal(queue.bytes, 0)
})

t.test('cuts a piece larger than the limit, without a copy', async t => {
  const queue = new ByteQueue()
  const large = bytes('0123456789')
  queue.push(bytes('x'))
  queue.push(large)
  t.same(queue.take(4), bytes('x'))
  const cut = queue.take(4)
  t.same(cut, bytes('0123'))
  t.equal(cut.buffer, large.buffer)
  t.equal(cut.byteOffset, large.byteOffset)
  t.same(queue.take(4), bytes('4567'))
  t.same(queue.take(4), bytes('89'))
})

t.test('takes a single piece without a copy', async t => {
  const queue = new ByteQueue()
  const piece = bytes('one')
  queue.push(piece)
  t.equal(queue.take(10), piece)
})

t.test('takes everything at once', async t => {
  const queue = new ByteQueue()
  for (const piece of ['ab', 'c']) queue.push(bytes(piece))
  t.same(queue.takeAll(), bytes('abc'))
  t.equal(queue.bytes, 0)
})
