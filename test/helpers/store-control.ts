/** Delays calls of the store of a gateway in this process, or makes them fail. */
import type { Test } from 'tap'
import { type CodeName, GatewayError } from '../../src/core/errors.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import { MongoStore } from '../../src/store/mongodb/store.js'
import type { Store } from '../../src/store/store.js'
import { type RunningGateway, startGateway } from './gateway.js'
import { TEST_STORE } from './mongodb.js'

/** Kinds of calls: store messages, the broker's state, devices' cursors; look up a recipient; list users. */
export type StoreCall = keyof typeof ROLE_OF

const ROLE_OF = {
  append: 'inbox',
  kvWrite: 'kv',
  moveCursors: 'cursors',
  findUser: 'users',
  findUsers: 'users',
} as const

export interface HeldAnswer {
  /** Resolves when the store has answered. */
  readonly made: Promise<void>
  /** Releases the answer. */
  release(): void
}

export interface ControlledGateway extends RunningGateway {
  readonly store: Store
  /** From now on calls of this kind wait. @returns a function that releases all of them */
  hold(call: StoreCall): () => void
  /** Executes the next call of this kind but holds its answer back. */
  holdAnswer(call: StoreCall): HeldAnswer
  /** From now on calls of this kind fail without storing anything. @returns a function that ends that */
  fail(call: StoreCall, code: CodeName): () => void
}

export async function startControlled(
  t: Test,
  settings: Record<string, unknown> = {},
): Promise<ControlledGateway> {
  const prototype: Store = TEST_STORE === 'mongodb' ? MongoStore.prototype : EmbeddedStore.prototype
  const { open } = prototype
  const opened: Store[] = []
  prototype.open = function (this: Store) {
    opened.push(this)
    return open.call(this)
  }
  const gateway = await startGateway(t, settings)
  prototype.open = open
  const [store] = opened
  if (store === undefined) throw new Error('no store was opened')

  type Call = (argument: never) => Promise<never>
  const replace = (call: StoreCall, replacement: (original: Call) => Call): (() => void) => {
    const role: object = store[ROLE_OF[call]]
    const original: Call = Object.getPrototypeOf(role)[call]
    Object.assign(role, { [call]: replacement(argument => original.call(role, argument)) })
    // All appends go that way.
    if (call === 'append') Object.assign(role, { appendNow: undefined })
    return () => {
      Reflect.deleteProperty(role, call)
      if (call === 'append') Reflect.deleteProperty(role, 'appendNow')
    }
  }
  return {
    ...gateway,
    store,
    hold(call) {
      const gate = makeGate()
      const restore = replace(call, original => argument => gate.opened.then(() => original(argument)))
      return () => {
        restore()
        gate.open()
      }
    },
    holdAnswer(call) {
      const [made, gate] = [makeGate(), makeGate()]
      const restore = replace(call, original => async argument => {
        restore()
        const answer = await original(argument)
        made.open()
        await gate.opened
        return answer
      })
      return { made: made.opened, release: gate.open }
    },
    fail: (call, code) => replace(call, () => () => Promise.reject(new GatewayError(code))),
  }
}

function makeGate() {
  let open = () => {}
  const opened = new Promise<void>(resolve => {
    open = resolve
  })
  return { opened, open }
}
