import { createHash } from 'node:crypto'
import type { Worker } from 'node:worker_threads'
import bcrypt from 'bcrypt'
import { Piscina } from 'piscina'
import t, { type Test } from 'tap'
import { type PasswordOptions, Passwords } from '../../src/accounts/passwords.js'

function make(t: Test, differing: Partial<PasswordOptions> = {}): Passwords {
  const passwords = new Passwords({ cost: 4, concurrency: 2, queue: 1000, ...differing })
  t.teardown(() => passwords.close())
  return passwords
}

t.test('a password matches its hash, and no other one does', async t => {
  const passwords = make(t)
  const hash = await passwords.hash('correct horse')
  t.match(hash, /^\$2b\$04\$/)
  t.equal(await passwords.matches('correct horse', hash), true)
  for (const wrong of ['', 'correct hors', 'correct horse ', 'Correct horse']) {
    t.equal(await passwords.matches(wrong, hash), false, wrong)
  }
  t.not(await passwords.hash('correct horse'), hash, 'salted')
})

t.test('every byte counts, also after the 72nd and after NUL', async t => {
  const passwords = make(t)
  const base = 'x'.repeat(72)
  t.equal(await passwords.matches(`${base}b`, await passwords.hash(`${base}a`)), false)
  t.equal(await passwords.matches('a\0c', await passwords.hash('a\0b')), false)
  t.equal(await passwords.matches('a', await passwords.hash('a\0b')), false)
})

t.test('the same password typed composed or decomposed is the same', async t => {
  const passwords = make(t)
  t.equal(await passwords.matches('mu\u0308ller', await passwords.hash('m\u00fcller')), true)
})

t.test('a hash of another cost stays valid', async t => {
  const hash = await make(t).hash('p')
  t.equal(await make(t, { cost: 5 }).matches('p', hash), true)
})

t.test('a check for an unknown account does the same work, and fails', async t => {
  const cost = 8
  const passwords = make(t, { cost })
  const hash = await passwords.hash('p')
  const { run } = Piscina.prototype
  const compared: string[] = []
  t.teardown(() => void Object.assign(Piscina.prototype, { run }))
  Object.assign(Piscina.prototype, {
    run(this: Piscina, task: { hash: string }, options: object) {
      compared.push(task.hash)
      return run.call(this, task, options)
    },
  })
  t.equal(await passwords.matchesNobody('p'), false)
  t.equal(await passwords.matches('p', hash), true)
  const shape = (hash: string) => [hash.length, hash.slice(0, 7)]
  t.same(compared.map(shape), [shape(hash), shape(hash)], 'one comparison each, at the same cost')
})

t.test('no more than `concurrency` are hashed at a time, and no more than `queue` wait', async t => {
  const passwords = make(t, { concurrency: 1, queue: 2 })
  const results = await Promise.allSettled(Array.from({ length: 6 }, async (_, i) => passwords.hash(`p${i}`)))
  t.same(
    results.map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'fulfilled', 'rejected', 'rejected', 'rejected'],
  )
  t.match(results[5], { reason: { kind: 'ERROR_AUTH_FAILED' } })
  t.match(await passwords.hash('later'), /^\$2b/, 'when there is room again it goes on')
})

t.test('all spaces are equivalent, and older hashes still match', async t => {
  const passwords = make(t)
  const hash = await passwords.hash('a\u3000b')
  t.equal(await passwords.matches('a b', hash), true)
  const former = await bcrypt.hash(createHash('sha256').update('a\u3000b').digest('base64'), 4)
  t.equal(await passwords.matches('a\u3000b', former), true)
  t.equal(await passwords.matches('a b', former), false)
})

t.test('a hash is cheap if its cost is below the configured one', async t => {
  const passwords = make(t, { cost: 6 })
  for (const [cost, isOutdated] of [
    [5, true],
    [6, false],
    [7, false],
  ] as const)
    t.equal(passwords.isOutdated(await bcrypt.hash('x', cost)), isOutdated, String(cost))
})

t.test(
  'a hash of the old server is kept as a hash of it, matches its password, and is to be replaced',
  async t => {
    const passwords = make(t)
    // Made by the old server itself.
    const old = 'XUBuXESv/wD75nprJz0C6DYoHS32tW3ekoKuwhZdFDPpeeZQ+jlQwRmZSpiLFPurS+FqCwwzeEnxitkzREhS9w=='
    const hash = await passwords.hashOld(old)
    t.match(hash, /^mumichat:\$2b\$04\$/)
    t.equal(await passwords.matches('p@ssw0rd', hash), true)
    for (const wrong of ['p@ssw0rD', '', old, hash])
      t.equal(await passwords.matches(wrong, hash), false, wrong)
    t.equal(passwords.isOutdated(hash), true)
    t.equal(await passwords.matches('', await passwords.hashOld('')), false, 'no password is no empty one')
    const shake = (text: string) => createHash('shake256', { outputLength: 64 }).update(text).digest('base64')
    const decomposed = 'Jose\u0301'
    t.equal(
      await passwords.matches(decomposed, await passwords.hashOld(shake(decomposed))),
      true,
      'as it came',
    )
    t.equal(await passwords.matches('a\u3000b', await passwords.hashOld(shake('a b'))), true, 'any space')
  },
)

t.test('threads are not ended while they load, since that would abort the process', async t => {
  const events: string[][] = []
  const onWorker = (worker: Worker) => {
    const seen: string[] = []
    events.push(seen)
    for (const event of ['message', 'exit']) worker.once(event, () => seen.push(event))
  }
  process.on('worker', onWorker)
  t.teardown(() => process.off('worker', onWorker))
  await new Passwords({ cost: 4, concurrency: 3, queue: 10 }).close()
  t.same(events, Array(3).fill(['message', 'exit']))
})
