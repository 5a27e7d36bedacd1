/** The store of a gateway that runs in this process, to hold its writes up or to let them fail. */
import type { Test } from 'tap'
import { type CodeName, GatewayError } from '../../src/errors.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import { MongoStore } from '../../src/store/mongodb/store.js'
import type { Store } from '../../src/store/store.js'
import { type RunningGateway, startGateway } from './gateway.js'
import { TEST_STORE } from './mongodb.js'

/** What makes messages durable, what keeps the broker's own state, and devices' cursors. */
export type StoreWrite = 'append' | 'kvWrite' | 'moveCursors'

export interface HeldAnswer {
  /** Resolves when the write was made. */
  readonly made: Promise<void>
  /** Lets the answer go. */
  release(): void
}

export interface ControlledGateway extends RunningGateway {
  readonly store: Store
  /** From now on this kind of write waits. @returns what lets all of them go on */
  hold(write: StoreWrite): () => void
  /** The next write of this kind is made, and its answer waits. */
  holdAnswer(write: StoreWrite): HeldAnswer
  /** From now on this kind of write fails, having stored nothing. @returns what ends that */
  fail(write: StoreWrite, code: CodeName): () => void
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

  type Write = (argument: never) => Promise<never>
  const replace = (write: StoreWrite, replacement: (original: Write) => Write): (() => void) => {
    const original = prototype[write] as Write
    Object.assign(store, { [write]: replacement(argument => original.call(store, argument)) })
    return () => void Reflect.deleteProperty(store, write)
  }
  return {
    ...gateway,
    store,
    hold(write) {
      const gate = makeGate()
      const restore = replace(write, original => argument => gate.opened.then(() => original(argument)))
      return () => {
        restore()
        gate.open()
      }
    },
    holdAnswer(write) {
      const [made, gate] = [makeGate(), makeGate()]
      const restore = replace(write, original => async argument => {
        restore()
        const answer = await original(argument)
        made.open()
        await gate.opened
        return answer
      })
      return { made: made.opened, release: gate.open }
    },
    fail: (write, code) => replace(write, () => () => Promise.reject(new GatewayError(code))),
  }
}

function makeGate() {
  let open = () => {}
  const opened = new Promise<void>(resolve => {
    open = resolve
  })
  return { opened, open }
}
