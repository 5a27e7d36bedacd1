/** Planted faults; the torture must find each of them. */
import { closeSync, openSync } from 'node:fs'
import { Server } from 'node:net'
import { isMainThread } from 'node:worker_threads'
import { Inbox } from '../../dist/inbox/inbox.js'
import { MessageIds } from '../../dist/inbox/message-id.js'
import { InboxDelivery } from '../../dist/json/inbox-delivery.js'
import { MqttBroker } from '../../dist/mqtt/broker.js'
import { Wills } from '../../dist/mqtt/routing/persistence/wills.js'
import { plant, replace } from '../plant.mjs'

const DELAY_MS = 200
const EVERY = 50
const LOOK_EVERY_MS = 100
let calls = 0
let isStopping = false

/** Calls `onOut` when this process cannot open a file. */
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
  /** Answers before it stores, so a kill loses messages. */
  'ack-before-store': () =>
    replace(Inbox, 'send', send => (message, waiter) => {
      waiter.stored({ seq: 0, id: message.id, repeat: false })
      setTimeout(() => send(message, { stored() {}, failed() {} }), DELAY_MS)
    }),
  /** Delays a message until later ones have been delivered. */
  overtake: () =>
    replace(Inbox, 'send', send => (message, waiter) => {
      if (++calls % EVERY === 0) setTimeout(() => send(message, waiter), DELAY_MS)
      else send(message, waiter)
    }),
  /** Counts a message as sent without sending it; a JSON device then confirms it with later ones. */
  'skip-one': () =>
    replace(InboxDelivery, 'deliver', deliver => row => {
      if (++calls % EVERY !== 0) deliver(row)
    }),
  /** Counts a message as confirmed when it was only written; a slow JSON device that disconnects loses it. */
  'confirm-on-write': () =>
    replace(InboxDelivery, 'deliver', (deliver, sink) => row => {
      deliver(row)
      sink.reader.confirmUpTo(row.seq)
    }),
  /** Does not store the id mark, so ids follow the clock back after a restart. */
  'forget-id-time': () =>
    replace(MessageIds, 'open', (open, ids) => () => {
      ids.kv = { kvGet: async () => undefined, kvWrite: async () => undefined }
      return open()
    }),
  /** Does not remove wills that a clean stop publishes, so the next start publishes them again. */
  'keep-wills-at-stop': () => {
    replace(MqttBroker, 'close', close => () => {
      isStopping = true
      return close()
    })
    replace(Wills, 'remove', (remove, wills) => id => (isStopping ? wills.get(id) : remove(id)))
  },
  /** Never removes a will from the store, not even after DISCONNECT. */
  'keep-wills': () => replace(Wills, 'remove', (_, wills) => id => wills.get(id)),
  /** Does not publish the wills of a killed process. */
  'forget-wills': () => replace(Wills, 'ofOtherBrokers', () => async function* () {}),
  /** Ends the process when no descriptor is left. */
  'end-without-files': () => whenOutOfFiles(() => process.kill(process.pid, 'SIGKILL')),
  /** Accepts no new client after descriptors ran out once. */
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
