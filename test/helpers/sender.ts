/** An account with a sender and an offline session, and what was stored for them in the end. */
import type { Test } from 'tap'
import { register, type TestAccount } from './gateway.js'
import { rawConnect } from './raw-mqtt.js'
import { type ControlledGateway, type StoreCall, startControlled } from './store-control.js'

/** Destinations of a PUBLISH, by the kind of write that makes it durable. */
export const OWED: readonly {
  name: string
  write: StoreCall
  topic: (me: string) => string
  retain: boolean
}[] = [
  { name: 'an inbox', write: 'append', topic: me => `users/${me}/inbox`, retain: false },
  { name: 'a retained message', write: 'kvWrite', topic: () => 'retained/x', retain: true },
  { name: 'an offline session', write: 'kvWrite', topic: () => 'offline/x', retain: false },
]

/** Makes an offline persistent session with a subscription to `offline/#`. */
async function leaveSession(t: Test, gateway: ControlledGateway, account: TestAccount): Promise<void> {
  const away = await rawConnect(t, gateway, { account, clientId: 'away', clean: false })
  await away.subscribe('offline/#', 2)
  await away.disconnect()
}

export async function setUpSender(t: Test, settings: Record<string, unknown> = {}) {
  const gateway = await startControlled(t, { 'mqtt.acl': 'open', ...settings })
  const account = await register(t, gateway)
  await leaveSession(t, gateway, account)
  return { gateway, account, connect: connector(t, gateway, account) }
}

export const connector =
  (t: Test, gateway: ControlledGateway, account: TestAccount) =>
  (clean = false) =>
    rawConnect(t, gateway, { account, clientId: 'sender', clean })

/** @returns what reaches the inbox, or the session that was offline */
export async function stored(
  t: Test,
  gateway: ControlledGateway,
  account: TestAccount,
  inbox: boolean,
): Promise<string[]> {
  const options = inbox ? { clientId: 'reader' } : { clientId: 'away', clean: false }
  const reader = await rawConnect(t, gateway, { account, ...options })
  if (inbox) await reader.subscribe(`users/${account.id}/inbox/#`)
  reader.publish('offline/end', 'end', { qos: 1, messageId: 7 })
  if (inbox) reader.publish(`users/${account.id}/inbox`, 'end', { qos: 1, messageId: 8 })
  const all: string[] = []
  for (;;) {
    const packet = await reader.next()
    if (packet.cmd !== 'publish') continue
    const text = packet.payload.toString()
    const content = inbox ? JSON.parse(text).content : text
    if (content === 'end') return all
    all.push(content)
  }
}
