/** Runs aedes-persistence's own suite, written for node:test, under tap. */
import assert from 'node:assert'
import { createRequire } from 'node:module'
import type { Test } from 'tap'

interface SuiteContext {
  readonly assert: object
  plan(count: number): void
  diagnostic(message: string): void
}

interface Suite {
  test(name: string, run: (t: SuiteContext) => Promise<void>): void
  persistence(): Promise<unknown>
  /** The suite's flag for promises instead of callbacks. */
  testAsync: true
}

/** Skipped: it expects the whole packet of a QoS 2 handshake, of which we keep only the identifier; see persistence.test.ts. */
const NOT_OURS = 'add incoming packet, get it, and clear with messageId'

const runSuite = createRequire(import.meta.url)('aedes-persistence/abstract.js') as (suite: Suite) => void

/** Runs an assertion of node:assert and reports it to tap. */
function countedAssert(t: Test): object {
  return new Proxy(assert, {
    get:
      (target, name: 'equal') =>
      (...args: Parameters<typeof assert.equal>) => {
        target[name](...args)
        t.pass(name)
      },
  })
}

/** @param build makes a persistence over an empty store; `t`'s teardown closes it */
export function aedesSuite(t: Test, build: (t: Test) => Promise<unknown>): void {
  let current = t
  runSuite({
    testAsync: true,
    persistence: () => build(current),
    test: (name, run) => {
      if (name === NOT_OURS) return
      void t.test(name, async t => {
        current = t
        await run({
          assert: countedAssert(t),
          plan: count => void t.plan(count),
          diagnostic: message => void t.comment(message),
        })
      })
    },
  })
}
