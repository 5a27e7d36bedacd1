/** Joins Aedes' hooks and events to the command files. */
import { guarded } from '../core/faults.js'
import type { AedesClient } from './aedes/client.js'
import type { AedesPublishPacket, AuthenticateError, Client, Subscription } from './aedes/types.js'
import { type ConnectParts, connect, ready } from './connect.js'
import { authorizeSubscribe, subscribed, unsubscribed } from './subscribe.js'

/** Aedes' own text for a connection whose CONNECT did not come within `mqtt.connectTimeout`. */
const CONNECT_LATE = 'connect did not arrive in time'

export function hook(parts: ConnectParts): void {
  hookConnect(parts)
  hookPublish(parts)
  hookSubscribe(parts)
  hookErrors(parts)
}

/**
 * Runs a handler; if it throws, the fault is reported and its connection ends. Aedes calls from store callbacks, too.
 */
function guard({ faults }: ConnectParts, where: string, client: Client | null, handler: () => void): void {
  guarded(where, { onFault: faults.report, end: () => client?.conn.destroy() }, handler)()
}

function hookConnect(parts: ConnectParts): void {
  const { aedes, connections } = parts
  aedes.authenticate = (client, userName, password, done) => {
    const answer = (error: AuthenticateError | null) =>
      guard(parts, 'mqtt.connect', client, () => done(error, error === null ? true : null))
    guard(parts, 'mqtt.connect', client, () => {
      connect(parts, connections.of(client), userName, password).then(() => answer(null), answer)
    })
  }
  aedes.on('clientReady', client =>
    guard(parts, 'mqtt.ready', client, () => ready(parts, connections.of(client))),
  )
}

function hookPublish(parts: ConnectParts): void {
  const { aedes, connections, wills } = parts
  const publish = (
    client: AedesClient | null,
    packet: AedesPublishPacket,
    done: (error?: Error | null) => void,
  ) => {
    aedes.consume(packet)
    if (client === null) wills.publishAbsent(packet, done)
    else if (client.will === packet) wills.connectionEnded(client, packet)
    else connections.of(client).publish(packet, done)
  }
  aedes.authorizePublish = (client, packet, done) =>
    guard(parts, 'mqtt.publish', client, () =>
      publish(client as AedesClient | null, packet as AedesPublishPacket, done),
    )
  aedes.authorizeForward = (client, packet) =>
    connections.of(client).link.delivery.forwardQueued(packet) ?? null
}

function hookSubscribe(parts: ConnectParts): void {
  const { aedes, connections } = parts
  aedes.authorizeSubscribe = (client, subscription, done) =>
    guard(parts, 'mqtt.subscribe', client, () =>
      authorizeSubscribe(parts, connections.of(client), subscription, (error, granted) =>
        guard(parts, 'mqtt.subscribe', client, () => done(error, granted)),
      ),
    )
  aedes.on('subscribe', (granted: Subscription[], client) =>
    guard(parts, 'mqtt.subscribe', client, () => subscribed(parts, connections.of(client), granted)),
  )
  aedes.on('unsubscribe', (filters, client) =>
    guard(parts, 'mqtt.unsubscribe', client, () => unsubscribed(connections.of(client), filters)),
  )
}

function hookErrors({ aedes, connections, services }: ConnectParts): void {
  const logged = (event: string) => (_client: Client, err: Error) =>
    services.log.info({ event, front: 'mqtt', reason: err.message }, 'client closed with an error')
  const failed = logged('client.failed')
  // The first error closes the client; those of its other work that follow say nothing new.
  aedes.on('clientError', (client, err) => {
    if (!client.closed) failed(client, err)
  })
  aedes.on('connectionError', (client, err) => {
    if (err.message === CONNECT_LATE) services.limits.count('mqtt.connectTimeout')
    logged('socket.failed')(client, err)
  })
  aedes.on('keepaliveTimeout', client => connections.of(client).endsFor('keep-alive'))
  // Without a listener an 'error' event ends the process. Aedes' types do not list it.
  const onError = (err: Error) => services.log.error({ event: 'broker.failed', err }, 'broker error')
  aedes.on('error' as 'closed', onError as () => void)
}
