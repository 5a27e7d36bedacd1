/** What the lock file installs runs on each Node.js that package.json promises: npm warns otherwise, or refuses. */
import { readFileSync } from 'node:fs'
import { minVersion, satisfies } from 'semver'
import t from 'tap'

interface Locked {
  readonly dev?: boolean
  readonly engines?: { readonly node?: string }
}

const read = (name: string) => JSON.parse(readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8'))

t.test('no package that the program needs asks for a newer Node.js than the program', async t => {
  const oldest = minVersion(read('package.json').engines.node)?.version ?? ''
  t.equal(oldest, '20.19.0')
  const packages: Readonly<Record<string, Locked>> = read('package-lock.json').packages
  const needed = Object.entries(packages).filter(([, { dev }]) => dev !== true)
  t.ok(needed.length > 50)
  const tooNew = needed.filter(([, { engines }]) => !satisfies(oldest, engines?.node ?? '*'))
  t.same(
    tooNew.map(([path, { engines }]) => `${path}: ${engines?.node}`),
    [],
  )
})
