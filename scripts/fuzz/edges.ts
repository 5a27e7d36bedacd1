/** Fields at their maximum length, one shorter and one longer, of cheap and of expensive characters. */
import mqttPacket, { type IConnectPacket } from 'mqtt-packet'
import type { Random } from '../random.js'
import type { Account } from './input.js'

/** Limits of fields: device and user name, names, token names, e-mail, password, token (docs/protocol.md, "Limits"). */
const LENGTHS = [64, 128, 256, 320, 1_024, 8_192]
/** Characters of one to four bytes of UTF-8; combining marks are expensive to normalise (Unicode, UAX #15). */
const CHARACTERS = ['e', '\u0301', '\u0315\u0300', '漢', '😀']

/** Length in UTF-16 code units, as the gateway counts. */
export function edgeText(random: Random): string {
  const length = random.pick(LENGTHS) + random.pick([-1, 0, 1])
  const filler = random.pick(CHARACTERS)
  return filler.repeat(Math.ceil(length / filler.length)).slice(0, length)
}

/** A text at the edge of a limit, half of the time with a domain, so that it is an email address. */
function edgeEmail(random: Random): string {
  const text = edgeText(random)
  return random.chance(0.5) ? text : `${text.slice(0, Math.max(0, text.length - 13))}@fuzz.example`
}

const action = (name: string, data: object) => ({ type: 'action', action: name, data })

const REQUESTS: readonly ((random: Random, account: Account) => Record<string, unknown>)[] = [
  random => action('query', { email: edgeEmail(random) }),
  random => action('query', { username: edgeText(random), firstName: edgeText(random) }),
  random => action('login', { email: edgeEmail(random), password: edgeText(random) }),
  (random, { email }) => action('login', { email, password: edgeText(random), device: edgeText(random) }),
  random => action('login', { token: edgeText(random) }),
  random => action('refresh', { token: edgeText(random) }),
  random => action('mint', { device: edgeText(random) }),
  (random, { id }) => action('revoke', { user: id, session: edgeText(random) }),
  random =>
    action('register', {
      email: edgeEmail(random),
      password: edgeText(random),
      firstName: edgeText(random),
      lastName: edgeText(random),
      username: edgeText(random),
    }),
]

export const edgeRequest = (random: Random, account: Account): Record<string, unknown> =>
  random.pick(REQUESTS)(random, account)

/** A text with this length in bytes, as MQTT counts. */
function edgeBytes(random: Random, limits: readonly number[]): Buffer {
  const length = random.pick(limits) + random.pick([-1, 0, 1])
  return Buffer.alloc(length, random.pick(CHARACTERS))
}

/** CONNECT with client id, user name, password and will at about their maximum lengths (docs/config.md, `mqtt.max…`). */
export function edgeConnect(random: Random, protocolVersion: 4 | 5): Buffer {
  const packet: IConnectPacket = {
    cmd: 'connect',
    protocolVersion,
    clientId: edgeBytes(random, [23, 128, 256]).toString(),
    username: edgeBytes(random, [320, 1_280]).toString(),
    password: edgeBytes(random, [1_024, 8_192]),
    ...(random.chance(0.5) && {
      will: {
        topic: edgeBytes(random, [64, 1_024]).toString(),
        payload: edgeBytes(random, [16_384]),
        qos: 1,
        retain: false,
      },
    }),
  }
  return mqttPacket.generate(packet)
}
