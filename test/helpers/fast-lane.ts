/** The fast lane of gateways in this process: counts its packets or switches it off. */
import type { Packet } from 'mqtt-packet'
import type { Test } from 'tap'
import { FastLane } from '../../src/mqtt/fast-lane.js'
import type { RunningGateway, TestAccount } from './gateway.js'
import { rawConnect } from './raw-mqtt.js'

/** @param isOpen false: every packet goes through Aedes until the test ends @returns reads how many packets the lane took */
export function watchLane(t: Test, isOpen = true): { readonly taken: number } {
  const { take } = FastLane.prototype
  const seen = { taken: 0 }
  FastLane.prototype.take = function (...packet) {
    if (!isOpen || !take.apply(this, packet)) return false
    seen.taken++
    return true
  }
  t.teardown(() => {
    FastLane.prototype.take = take
  })
  return seen
}

export const inboxOf = ({ id }: TestAccount) => `users/${id}/inbox`

/** A QoS 1 PUBLISH. */
export const message = (topic: string, payload: string | Buffer, messageId: number, dup = false): Packet => ({
  cmd: 'publish',
  topic,
  payload,
  qos: 1,
  messageId,
  dup,
  retain: false,
})

/** The messages of the account's inbox, read by a device from the start. */
export async function contents(t: Test, gateway: RunningGateway, account: TestAccount): Promise<string[]> {
  const reader = await rawConnect(t, gateway, { account, clientId: 'reader' })
  await reader.subscribe(`${inboxOf(account)}/#`)
  reader.send(message(inboxOf(account), 'end', 1))
  const all: string[] = []
  for (;;) {
    const packet = await reader.next()
    if (packet.cmd !== 'publish') continue
    const { content } = JSON.parse(packet.payload.toString())
    if (content === 'end') return all
    all.push(content)
  }
}
