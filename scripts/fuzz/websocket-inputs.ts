/** Valid, invalid and random handshakes (RFC 6455, 4.2.1) and frames (5.2). */
import type { Random } from '../random.js'
import { floodOfFrames, pipelinedRequests } from './floods.js'
import { hostileText, mutate } from './hostile.js'
import type { Input } from './input.js'
import { CLOSE, frame, HEADERS, KEY, PING, PONG, TEXT, upgradeRequest } from './websocket-wire.js'

export interface HandshakeInput extends Input {
  /** True if it violates RFC 6455 4.2.1, so the server must refuse it. */
  readonly isWrong: boolean
}

const without = (name: string) => HEADERS.filter(([one]) => one !== name)
const withHeader = (name: string, value: string) => [...without(name), [name, value] as const]
/** Text that is valid in a header. */
const oneLine = (text: string): string => text.replace(/[\r\n\0]/g, ' ')

const WRONG: readonly ((random: Random) => Buffer)[] = [
  () => upgradeRequest('/', without('Sec-WebSocket-Key')),
  () => upgradeRequest('/', without('Sec-WebSocket-Version')),
  () => upgradeRequest('/', without('Upgrade')),
  () => upgradeRequest('/', without('Connection')),
  random =>
    upgradeRequest(
      '/',
      withHeader('Sec-WebSocket-Key', random.pick(['', 'x', `${KEY}=`, 'A'.repeat(24), '漢字'])),
    ),
  random =>
    upgradeRequest(
      '/',
      withHeader('Sec-WebSocket-Version', random.pick(['', '0', '7', '12', '14', '99999', 'x'])),
    ),
  random => upgradeRequest('/', withHeader('Upgrade', random.pick(['h2c', 'websockets', 'TLS/1.0']))),
  random => upgradeRequest('/', HEADERS, random.pick(['POST', 'HEAD', 'PUT', 'OPTIONS', 'CONNECT', 'BREW'])),
  random =>
    upgradeRequest('/', HEADERS, 'GET', random.pick(['HTTP/0.9', 'HTTP/1.0', 'HTTP/2.0', 'http/1.1', ''])),
  random =>
    upgradeRequest(random.pick(['/x', '//', '/../', '*', 'http://x/', '/%00', '/constructor']), HEADERS),
]

const ANY: readonly ((random: Random) => Buffer)[] = [
  () => upgradeRequest(),
  random => upgradeRequest(`/?lang=${encodeURIComponent(hostileText(random).toWellFormed().slice(0, 500))}`),
  random => upgradeRequest(`/${oneLine(hostileText(random))}`),
  random => upgradeRequest('/', [...HEADERS, ['Sec-WebSocket-Protocol', oneLine(hostileText(random))]]),
  random =>
    upgradeRequest('/mqtt', [
      ...HEADERS,
      ['Sec-WebSocket-Protocol', random.pick(['mqtt', 'mqttv3.1', 'mqtt,x', 'x', ',', 'mqtt;'])],
    ]),
  random =>
    upgradeRequest('/', [
      ...HEADERS,
      [
        'Sec-WebSocket-Extensions',
        random.pick(['permessage-deflate', 'permessage-deflate; server_max_window_bits=99', ';', ',,']),
      ],
    ]),
  random => upgradeRequest('/', [...HEADERS, ['Origin', oneLine(hostileText(random))]]),
  random => upgradeRequest('/', [...HEADERS, ['X-Forwarded-For', oneLine(hostileText(random))]]),
  random => upgradeRequest('/', [...HEADERS, [oneLine(hostileText(random)), 'x']]),
  random => upgradeRequest('/', [...HEADERS, ['X', 'x'.repeat(random.pick([1_000, 16_000, 100_000]))]]),
  () =>
    upgradeRequest(
      '/',
      Array.from({ length: 3_000 }, (_, i) => [`x${i}`, 'x'] as const),
    ),
  () => upgradeRequest(`/${'a'.repeat(70_000)}`),
  () => upgradeRequest('/', [...HEADERS, ...HEADERS]),
  () => upgradeRequest('/', [...HEADERS, ['Content-Length', '5'], ['Transfer-Encoding', 'chunked']]),
  () => upgradeRequest('/', [...HEADERS, ['Expect', '100-continue']]),
]

/** A handshake in the same write as a request that is not answered yet. */
function behindAnother(random: Random): Buffer {
  const target = () => random.pick(['/', '/readyz', '/mqtt', '/none'])
  const first = `${random.pick(['GET', 'HEAD'])} ${target()} HTTP/1.1\r\nHost: x\r\n\r\n`
  const upgrade = withHeader('Upgrade', random.pick(['h2c', 'websocket', 'TLS/1.0']))
  const before = first.repeat(random.pick([1, 2, 50]))
  return Buffer.concat([Buffer.from(before), upgradeRequest(target(), upgrade)])
}

export function handshakeInput(random: Random): HandshakeInput {
  const how = random.next()
  if (how < 0.4) return { kind: 'handshake wrong', bytes: random.pick(WRONG)(random), isWrong: true }
  if (how < 0.7) return { kind: 'handshake', bytes: random.pick(ANY)(random), isWrong: false }
  if (how < 0.8) return { kind: 'handshake behind another', bytes: behindAnother(random), isWrong: false }
  if (how < 0.9) return { kind: 'requests pipelined', bytes: pipelinedRequests(random), isWrong: false }
  return { kind: 'handshake bytes', bytes: mutate(random, upgradeRequest()), isWrong: false }
}

export interface FramesInput extends Input {
  /** The only close codes that may answer it; undefined if that depends on the changed bytes. */
  readonly closes: readonly number[] | undefined
}

const closeFrame = (code: number, reason: Buffer | string = ''): Buffer =>
  frame({ opcode: CLOSE, payload: Buffer.concat([Buffer.of(code >> 8, code & 255), Buffer.from(reason)]) })

const ASK = '{"type":"action","action":"query","data":{"email":"nobody@fuzz.example"}}'
const ILL_FORMED = [
  [0xff],
  [0xc3],
  [0xed, 0xa0, 0x80],
  [0xc0, 0x80],
  [0xf4, 0x90, 0x80, 0x80],
  [0xf8, 0x88, 0x80, 0x80, 0x80],
]

/** Frames that the server must answer with one of these close codes (RFC 6455, 5 and 7.4). */
const REFUSED: readonly (readonly [codes: readonly number[], make: (random: Random) => Buffer])[] = [
  [[1002], random => frame({ reserved: 1 + Math.floor(random.next() * 7), payload: ASK })],
  [[1002], random => frame({ opcode: random.pick([3, 4, 5, 6, 7, 11, 12, 13, 14, 15]) })],
  [[1002], () => frame({ isMasked: false, payload: ASK })],
  [[1002], random => frame({ opcode: random.pick([8, 9, 10]), isLast: false })],
  [[1002], random => frame({ opcode: random.pick([8, 9, 10]), payload: 'x'.repeat(126) })],
  [[1002], () => frame({ opcode: 0, payload: ASK })],
  [[1002], () => Buffer.concat([frame({ isLast: false, payload: 'a' }), frame({ payload: ASK })])],
  [
    [1009, 1002],
    random => frame({ length: random.pick([2n ** 20n, 2n ** 32n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]) }),
  ],
  [
    [1009],
    () =>
      Buffer.concat(
        Array.from({ length: 9 }, (_, i) =>
          frame({ opcode: i === 0 ? TEXT : 0, isLast: false, payload: 'x'.repeat(65_000) }),
        ),
      ),
  ],
  [
    [1007],
    random =>
      frame({
        payload: Buffer.concat([
          Buffer.from('{"a":"'),
          Buffer.from(random.pick(ILL_FORMED)),
          Buffer.from('"}'),
        ]),
      }),
  ],
  [[1002], () => frame({ opcode: CLOSE, payload: 'x' })],
  [[1002], random => closeFrame(random.pick([0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535]))],
  [[1007], random => closeFrame(1000, Buffer.from(random.pick(ILL_FORMED)))],
  [[1000, 3000, 4999], random => closeFrame(random.pick([1000, 3000, 4999]), 'bye')],
]

const FRAMES: readonly ((random: Random) => Buffer)[] = [
  () => frame({ payload: ASK }),
  random => frame({ opcode: PING, payload: hostileText(random).slice(0, 30) }),
  random => frame({ opcode: PONG, payload: hostileText(random).slice(0, 30) }),
  random => frame({ opcode: 2, payload: hostileText(random) }),
  () =>
    Buffer.concat([
      frame({ isLast: false, payload: ASK.slice(0, 9) }),
      frame({ opcode: PING }),
      frame({ opcode: 0, payload: ASK.slice(9) }),
    ]),
  () =>
    Buffer.concat(
      Array.from({ length: 200 }, (_, i) => frame({ opcode: i === 0 ? TEXT : 0, isLast: false })),
    ),
  () => closeFrame(1000),
]

/** Close codes: as requested, or earlier for too many refusals; 0: the connection was cut, which may lose a close frame. */
const CLOSES_OF_A_FLOOD = [0, 1000, 4009, 4500]

export function framesInput(random: Random): FramesInput {
  if (random.chance(0.15))
    return { kind: 'frames flood', bytes: floodOfFrames(random), closes: CLOSES_OF_A_FLOOD }
  if (random.chance(0.5)) {
    const [closes, make] = random.pick(REFUSED)
    return { kind: 'frames wrong', bytes: make(random), closes }
  }
  const frames = Array.from({ length: 1 + Math.floor(random.wait(3)) }, () => random.pick(FRAMES)(random))
  return { kind: 'frames bytes', bytes: mutate(random, Buffer.concat(frames)), closes: undefined }
}
