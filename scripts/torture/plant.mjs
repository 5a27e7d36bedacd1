/** Faults of which the torture must find each one. */
import { closeSync, openSync } from 'node:fs'
import { Server } from 'node:net'
import { isMainThread } from 'node:worker_threads'
import { MessageIds } from '../../dist/handle/message-id.js'
import { Inbox } from '../../dist/inbox/inbox.js'
import { InboxDelivery } from '../../dist/json/inbox-delivery.js'
import { Wills } from '../../dist/mqtt/aedes/persistence/wills.js'
import { MqttBroker } from '../../dist/mqtt/broker.js'
import { plant, replace } from '../plant.mjs'

const DELAY_MS = 200
const EVERY = 50
const LOOK_EVERY_MS = 100
let calls = 0
let isStopping = false

/** Calls `onOut` when this process can open no file. */
function whenOutOfFiles(onOut) {
  if (!isMainThread) return
  setInterval(() => {
    try {
      closeSync(openSync('/dev/null'))
    } catch {
      onOut()
    }
  }, LOOK_EVERY_MS).unref()
}

const faults = {
  /** Answers at once and stores a moment later: what is under way when the process is killed is lost. */
  'ack-before-store': () =>
    replace(Inbox, 'send', send => (message, waiter) => {
      waiter.stored({ seq: 0, id: message.id, repeat: false })
      setTimeout(() => send(message, { stored() {}, failed() {} }), DELAY_MS)
    }),
  /** Holds one message back until others have passed it. */
  overtake: () =>
    replace(Inbox, 'send', send => (message, waiter) => {
      if (++calls % EVERY === 0) setTimeout(() => send(message, waiter), DELAY_MS)
      else send(message, waiter)
    }),
  /** Takes one message for sent that never went out: a JSON device confirms it with those behind it. */
  'skip-one': () =>
    replace(InboxDelivery, 'deliver', deliver => row => {
      if (++calls % EVERY !== 0) deliver(row)
    }),
  /** Takes for confirmed what was only written: a JSON device that reads slowly and goes loses it. */
  'confirm-on-write': () =>
    replace(InboxDelivery, 'deliver', (deliver, sink) => row => {
      deliver(row)
      sink.reader.confirmUpTo(row.seq)
    }),
  /** Does not remember over a restart which ids it gave: they follow the clock back. */
  'forget-id-time': () =>
    replace(MessageIds, 'open', (open, ids) => () => {
      ids.store = { kvGet: async () => undefined, kvWrite: async () => undefined }
      return open()
    }),
  /** Leaves the wills in the store that a clean stop publishes: the next start does it again. */
  'keep-wills-at-stop': () => {
    replace(MqttBroker, 'close', close => () => {
      isStopping = true
      return close()
    })
    replace(Wills, 'remove', (remove, wills) => id => (isStopping ? wills.get(id) : remove(id)))
  },
  /** Removes no will from the store: not of those who have left either. */
  'keep-wills': () => replace(Wills, 'remove', (_, wills) => id => wills.get(id)),
  /** Does not look for wills of a process that was killed. */
  'forget-wills': () => replace(Wills, 'ofOtherBrokers', () => async function* () {}),
  /** Ends when it has no descriptor left. */
  'end-without-files': () => whenOutOfFiles(() => process.kill(process.pid, 'SIGKILL')),
  /** Lets nobody in any more once it had no descriptor left. */
  'deaf-without-files': () => {
    let isDeaf = false
    whenOutOfFiles(() => {
      isDeaf = true
    })
    replace(Server, 'emit', emit => (event, ...args) => {
      if (isDeaf && event === 'connection') args[0].destroy()
      else return emit(event, ...args)
    })
  },
}

plant(faults)
