/** Messages to inboxes, by raw packets. */
import type { Packet } from 'mqtt-packet'
import type { Test } from 'tap'
import type { RunningGateway, TestAccount } from './gateway.js'
import { rawConnect } from './raw-mqtt.js'

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
