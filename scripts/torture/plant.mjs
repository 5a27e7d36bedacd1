/** Faults of which the torture must find each one. */
import { Inbox } from '../../dist/inbox/inbox.js'
import { InboxDelivery } from '../../dist/json/inbox-delivery.js'
import { plant, replace } from '../plant.mjs'

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

plant(faults)
