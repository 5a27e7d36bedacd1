/** Bytes by tuple, for the broker. Part of store.contract.ts. */
import type { Test } from 'tap'
import { KV_COLLECTIONS, type KvKey, type KvWrite, type Store } from '../../src/store/store.js'
import { keysOf, type OpenStore } from '../helpers/store-samples.js'

const put = (key: KvKey, value: string | Uint8Array = 'v'): KvWrite => ({
  put: 'meta',
  key,
  value: Buffer.from(value),
})
const remove = (key: KvKey): KvWrite => ({ remove: 'meta', key })

async function textOf(store: Store, key: KvKey): Promise<string | undefined> {
  const value = await store.kv.kvGet('meta', key)
  return value === undefined ? undefined : Buffer.from(value).toString()
}

export function kvContract(t: Test, open: OpenStore): void {
  writing(t, open)
  reading(t, open)
  ordering(t, open)
  ranging(t, open)
}

function writing(t: Test, open: OpenStore): void {
  t.test('puts, replaces and removes values', async t => {
    const { store } = await open(t)
    t.equal(await textOf(store, ['k']), undefined)
    await store.kv.kvWrite([put(['k'], 'one'), put(['l'], '')])
    t.equal(await textOf(store, ['k']), 'one')
    t.equal(await textOf(store, ['l']), '', 'an empty value is one')
    await store.kv.kvWrite([put(['k'], 'two'), remove(['l']), remove(['never there'])])
    t.equal(await textOf(store, ['k']), 'two')
    t.equal(await textOf(store, ['l']), undefined)
    await store.kv.kvWrite([put(['m'], 'first'), put(['m'], 'last'), put(['n']), remove(['n'])])
    t.equal(await textOf(store, ['m']), 'last', 'in the order of the call')
    t.equal(await textOf(store, ['n']), undefined)
    await t.resolves(store.kv.kvWrite([]))
  })

  t.test('returns bytes unchanged, also after it was reopened', async t => {
    const { store } = await open(t)
    const bytes = Uint8Array.from({ length: 100_000 }, (_, i) => i % 256)
    await store.kv.kvWrite([put(['large'], bytes), put(['small'], bytes.subarray(7, 300))])
    const large = await store.kv.kvGet('meta', ['large'])
    const small = await store.kv.kvGet('meta', ['small'])
    await store.kv.kvWrite([put(['large'], 'replaced'), put(['small'], 'replaced')])
    t.equal(await textOf(store, ['small']), 'replaced')
    t.ok(Buffer.from(bytes).equals(large ?? Buffer.alloc(0)), 'unchanged by a later write')
    t.ok(Buffer.from(bytes.subarray(7, 300)).equals(small ?? Buffer.alloc(0)))
  })

  t.test('keeps collections apart', async t => {
    const { store } = await open(t)
    await store.kv.kvWrite(KV_COLLECTIONS.map(name => ({ put: name, key: ['k'], value: Buffer.from(name) })))
    for (const name of KV_COLLECTIONS) t.same(await store.kv.kvGet(name, ['k']), Buffer.from(name))
    await store.kv.kvWrite([{ remove: 'queue', key: ['k'] }])
    t.equal(await store.kv.kvGet('queue', ['k']), undefined)
    t.same(await keysOf(store, 'queue'), [])
    t.same(await keysOf(store, 'wills'), [['k']])
  })

  t.test('applies calls of one turn in their order', async t => {
    const { store } = await open(t)
    const writes = Array.from({ length: 100 }, (_, i) =>
      store.kv.kvWrite([put(['k'], String(i)), put(['n', i])]),
    )
    for (const [i, written] of writes.entries()) {
      await written
      t.ok(Number(await textOf(store, ['k'])) >= i)
      t.equal(await textOf(store, ['n', i]), 'v')
    }
    t.equal(await textOf(store, ['k']), '99')
  })
}

function reading(t: Test, open: OpenStore): void {
  t.test('answers reads in the order of the calls', async t => {
    const { store } = await open(t)
    await store.kv.kvWrite([put(['large'], new Uint8Array(2 << 20)), put(['small'])])
    const answered: number[] = []
    const keys = Array.from({ length: 40 }, (_, i) => [
      i % 4 === 0 ? 'large' : i % 4 === 1 ? 'small' : 'none',
    ])
    await Promise.all(keys.map((key, i) => store.kv.kvGet('meta', key).then(() => answered.push(i))))
    t.same(answered, [...keys.keys()])
  })
}

function ordering(t: Test, open: OpenStore): void {
  async function sorts(t: Test, keys: readonly KvKey[]): Promise<void> {
    const { store } = await open(t)
    await store.kv.kvWrite(keys.toReversed().map(key => put(key, JSON.stringify(key))))
    t.strictSame(await keysOf(store, 'meta'), keys)
    for (const key of keys) t.equal(await textOf(store, key), JSON.stringify(key))
  }

  t.test('orders numbers by value', t =>
    sorts(
      t,
      [
        Number.MIN_SAFE_INTEGER,
        -1e9,
        -256,
        -2,
        -1.5,
        -1,
        0,
        0.5,
        1,
        1.5,
        2,
        10,
        255,
        256,
        65536,
        2 ** 32,
        1e15,
        Number.MAX_SAFE_INTEGER,
      ].map(n => [n]),
    ),
  )

  t.test('orders text by its characters', t =>
    sorts(
      t,
      [
        '',
        '\u0000',
        '\u0000\u0000',
        '\u0000a',
        '\u0001',
        '\u0004',
        ' ',
        'A',
        'a',
        'a\u0000',
        'a\u0000b',
        'a\u0001',
        'a/b',
        'aa',
        'ab',
        'b',
        '\u007f',
        '\u00e9',
        '\u0100',
        '\u0433',
        '中',
        '中文',
        '\ufffd',
      ].map(text => [text]),
    ),
  )

  t.test('orders long text and surrogate pairs by characters, too', t => {
    const long = 'x'.repeat(100)
    return sorts(t, [
      [long],
      [`${long}\u0000`],
      [`${long}\u0001`],
      [`${long}\u0004y`],
      [`${long}y`],
      ['😀'],
      ['😀', 1],
      ['😀x'],
      ['😁'],
    ])
  })

  t.test('orders tuples part by part, a shorter one before its extensions', t =>
    sorts(t, [
      ['a'],
      ['a', 1],
      ['a', 1, ''],
      ['a', 1, 'x'],
      ['a', 2],
      ['a', 10],
      ['a\u0000', 1],
      ['ab'],
      ['ab', 1],
      ['b', 0],
    ]),
  )

  t.test('takes keys of 1,400 bytes', async t => {
    const { store } = await open(t)
    const keys: KvKey[] = [['k'.repeat(1400)], ['中'.repeat(466), 'x'], ['c'.repeat(700), 'd'.repeat(691), 1]]
    await store.kv.kvWrite(keys.map((key, i) => put(key, String(i))))
    for (const [i, key] of keys.entries()) t.equal(await textOf(store, key), String(i))
  })
}

function ranging(t: Test, open: OpenStore): void {
  t.test('ranges over whole parts', async t => {
    const { store } = await open(t)
    const keys: KvKey[] = [
      ['a'],
      ['a', 'x'],
      ['a', 'x', 1],
      ['a', 'x', 2],
      ['a', 'xy'],
      ['ab'],
      ['ab', 'x'],
      ['b', 1],
    ]
    await store.kv.kvWrite(keys.map(key => put(key)))
    t.same(await keysOf(store, 'meta'), keys)
    t.same(await keysOf(store, 'meta', ['a']), keys.slice(0, 5))
    t.same(await keysOf(store, 'meta', ['a', 'x']), keys.slice(1, 4))
    t.same(await keysOf(store, 'meta', ['a', 'x', 2]), [['a', 'x', 2]])
    t.same(await keysOf(store, 'meta', ['ab']), keys.slice(5, 7))
    t.same(await keysOf(store, 'meta', ['']), [])
    t.same(await keysOf(store, 'meta', ['c']), [])
  })

  t.test('ranges over more than one page, with the values', async t => {
    const { store } = await open(t)
    await store.kv.kvWrite(Array.from({ length: 1100 }, (_, i) => put(['q', i], String(i))))
    let expected = 0
    for await (const { key, value } of store.kv.kvRange('meta', ['q'])) {
      if (key[1] !== expected || Buffer.from(value).toString() !== String(expected)) break
      expected++
    }
    t.equal(expected, 1100)
  })

  t.test('a range of the keys that are wanted alone, large values among them', async t => {
    const { store } = await open(t)
    const large = 'x'.repeat(50_000)
    await store.kv.kvWrite(
      Array.from({ length: 600 }, (_, i) => put(['q', i], i % 100 === 7 ? large : String(i))),
    )
    const wanted = [7, 107, 207, 255, 256, 257, 307, 511, 512, 599]
    const asked: unknown[] = []
    const wants = ([, n]: KvKey) => {
      asked.push(n)
      return wanted.includes(Number(n))
    }
    const seen: unknown[] = []
    for await (const { key, value } of store.kv.kvRange('meta', ['q'], undefined, wants)) {
      seen.push(key[1])
      t.equal(Buffer.from(value).toString(), Number(key[1]) % 100 === 7 ? large : String(key[1]))
    }
    t.same(seen, wanted)
    t.same(
      asked,
      Array.from({ length: 600 }, (_, i) => i),
      'each key is asked for once',
    )
  })

  t.test('a range returns unchanged keys while others change', async t => {
    const { store } = await open(t)
    await store.kv.kvWrite(Array.from({ length: 1000 }, (_, i) => put(['q', i])))
    const seen: unknown[] = []
    for await (const { key } of store.kv.kvRange('meta', ['q'])) {
      seen.push(key[1])
      const n = Number(key[1])
      if (n % 100 === 0)
        await store.kv.kvWrite([remove(key), remove(['q', n + 999]), put(['q', n + 0.5]), put(['p', n])])
    }
    const whole = seen.filter(n => Number.isInteger(n))
    t.same(
      whole,
      Array.from({ length: 999 }, (_, i) => i),
    )
  })

  t.test('a range can be ended early', async t => {
    const { store } = await open(t)
    await store.kv.kvWrite(Array.from({ length: 600 }, (_, i) => put(['q', i])))
    for (let i = 0; i < 200; i++) {
      for await (const { key } of store.kv.kvRange('meta', ['q'])) if (key[1] === 300) break
    }
    t.equal((await keysOf(store, 'meta')).length, 600)
  })
}
