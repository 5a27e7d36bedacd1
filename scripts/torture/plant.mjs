/**
 * Faults planted into the built program before it starts (`node --import`), so that the torture can be seen to fail.
 * Which one: the environment's TORTURE_PLANT.
 */
import { Inbox } from '../../dist/inbox/inbox.js'
import { InboxDelivery } from '../../dist/ws/inbox-delivery.js'

const DELAY_MS = 200
const EVERY = 50
let calls = 0

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
      sink.session.confirmUpTo(row.seq)
    }),
}

/** A method that went elsewhere must not make a fault that is none. */
function replace({ prototype }, name, make) {
  const original = prototype[name]
  if (typeof original !== 'function') throw new Error(`nothing to plant a fault in: no method ${name}`)
  prototype[name] = function (...args) {
    return make(original.bind(this), this)(...args)
  }
}

const plant = faults[process.env.TORTURE_PLANT ?? '']
if (plant === undefined) throw new Error(`TORTURE_PLANT is none of ${Object.keys(faults).join(', ')}`)
plant()
