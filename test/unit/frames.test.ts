/** Frames of WebSocket clients, and the handshake before them. */

import type { IncomingMessage } from 'node:http'
import { PassThrough } from 'node:stream'
import fc from 'fast-check'
import t from 'tap'
import { closeFault, closeFrame, controlFrame } from '../../src/net/control-frame.js'
import { type FrameFault, FrameReader, MAX_FRAGMENTS, OPCODE } from '../../src/net/frames.js'
import { acceptWebSocket } from '../../src/net/handshake.js'

interface Frame {
  readonly opcode: number
  readonly payload: Buffer
  readonly isLast?: boolean
}

/** A client's frame (RFC 6455, 5.2). */
function encode({ opcode, payload, isLast = true }: Frame, mask = 0x01020304): Buffer {
  const { length } = payload
  const first = (isLast ? 0x80 : 0) | opcode
  const head =
    length < 126
      ? Buffer.of(first, 0x80 | length)
      : length < 65_536
        ? Buffer.of(first, 0xfe, length >> 8, length & 255)
        : Buffer.of(first, 0xff, 0, 0, 0, 0, 0, length >> 16, (length >> 8) & 255, length & 255)
  const key = Buffer.alloc(4)
  key.writeUInt32BE(mask)
  return Buffer.concat([head, key, payload.map((byte, i) => byte ^ (key[i % 4] ?? 0))])
}

const text = (payload: string, opcode: number = OPCODE.text, isLast = true): Frame => ({
  opcode,
  payload: Buffer.from(payload),
  isLast,
})

/** A reader and what it took: `opcode payload` of each message and control frame. */
function reader(maxPayload = 1_000_000) {
  const taken: string[] = []
  const faults: FrameFault[] = []
  const hook: { taken(): void } = { taken: () => undefined }
  const take = (opcode: number, payload: Buffer) => {
    taken.push(`${opcode} ${payload.toString('latin1')}`)
    hook.taken()
  }
  const frames = new FrameReader(
    {
      message: (payload, isBinary) => take(isBinary ? OPCODE.binary : OPCODE.text, payload),
      control: take,
      fault: fault => faults.push(fault),
    },
    maxPayload,
  )
  return { frames, taken, faults, hook }
}

const payload = fc.oneof(
  fc.uint8Array({ maxLength: 20 }),
  fc.integer({ min: 100, max: 300 }).map(length => new Uint8Array(length).fill(length & 255)),
  fc.constantFrom(65_535, 65_536, 70_000).map(length => new Uint8Array(length).fill(7)),
)
/** A binary message in fragments, with pings between them. */
const message = fc.array(payload, { minLength: 1, maxLength: 4 }).map(parts => {
  const frames = parts.flatMap((part, i): Frame[] => [
    {
      opcode: i === 0 ? OPCODE.binary : OPCODE.more,
      payload: Buffer.from(part),
      isLast: i === parts.length - 1,
    },
    ...(i < parts.length - 1 ? [{ opcode: OPCODE.ping, payload: Buffer.from(String(i)) }] : []),
  ])
  const pings = parts.slice(1).map((_, i) => `${OPCODE.ping} ${i}`)
  return { frames, taken: [...pings, `${OPCODE.binary} ${Buffer.concat(parts).toString('latin1')}`] }
})

t.test('frames are the same in whatever pieces they come, and however often they are held up', async () => {
  const pieces = fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1 })
  const stops = fc.array(fc.boolean(), { minLength: 1 })
  fc.assert(
    fc.property(
      fc.array(message, { maxLength: 5 }),
      pieces,
      stops,
      fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      (messages, sizes, stopped, mask) => {
        const { frames, taken, faults, hook } = reader()
        let n = 0
        hook.taken = () => {
          if (stopped[n++ % stopped.length]) frames.stop()
        }
        const bytes = Buffer.concat(messages.flatMap(one => one.frames.map(frame => encode(frame, mask))))
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const size = sizes[i % sizes.length] ?? 1
          // A copy: it is unmasked in place.
          frames.read(Buffer.from(bytes.subarray(at, at + size)))
          at += size
        }
        for (let before = -1; before !== taken.length; ) {
          before = taken.length
          frames.goOn()
        }
        return faults.length === 0 && taken.join('\n') === messages.flatMap(one => one.taken).join('\n')
      },
    ),
    { numRuns: 300 },
  )
})

t.test('a frame that breaks RFC 6455 is a fault, and nothing is taken behind it', async t => {
  const bad: [string, Buffer | readonly Frame[], number][] = [
    ['no mask', Buffer.of(0x81, 1, 0x61), 1002],
    ['reserved bit', Buffer.of(0xc1, 0x80, 0, 0, 0, 0), 1002],
    ['unknown opcode', [text('', 3)], 1002],
    ['unknown control opcode', [text('', 11)], 1002],
    ['control frame in fragments', [text('', OPCODE.ping, false)], 1002],
    ['long control frame', [text('x'.repeat(126), OPCODE.pong)], 1002],
    ['nothing to continue', [text('', OPCODE.more)], 1002],
    ['a message in a message', [text('a', OPCODE.text, false), text('b')], 1002],
    ['not UTF-8', [{ opcode: OPCODE.text, payload: Buffer.of(0xff) }], 1007],
    ['not UTF-8 together', [text('a', OPCODE.text, false), { opcode: 0, payload: Buffer.of(0xc3) }], 1007],
    ['too long', [text('x'.repeat(101))], 1009],
    [
      'too long together',
      [text('x'.repeat(60), OPCODE.text, false), text('x'.repeat(41), OPCODE.more)],
      1009,
    ],
    ['claims 2^53', Buffer.of(0x81, 0xff, 0, 32, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4), 1009],
    ['fragments', [text('', 1, false), ...Array(MAX_FRAGMENTS).fill(text('', OPCODE.more, false))], 1008],
  ]
  for (const [name, sent, code] of bad) {
    const { frames, taken, faults } = reader(100)
    const bytes = Buffer.isBuffer(sent) ? sent : Buffer.concat(sent.map(frame => encode(frame)))
    frames.read(Buffer.concat([bytes, encode(text('behind it'))]))
    frames.read(encode(text('later')))
    frames.goOn()
    t.match([faults.map(fault => fault.code), taken], [[code], []], name)
  }
})

t.test(
  'what is in the limits is taken: characters of two fragments, the longest message, an empty one',
  async t => {
    const { frames, taken, faults } = reader(100)
    const cut = Buffer.from('ä')
    const sent = [
      { opcode: OPCODE.text, payload: cut.subarray(0, 1), isLast: false },
      { opcode: OPCODE.more, payload: cut.subarray(1) },
      text('x'.repeat(100)),
      text(''),
      text('x'.repeat(125), OPCODE.pong),
      text('', OPCODE.close),
    ]
    for (const frame of sent) frames.read(encode(frame, 0))
    t.same(taken, ['1 Ã¤', `1 ${'x'.repeat(100)}`, '1 ', `10 ${'x'.repeat(125)}`, '8 '])
    t.same(faults, [])
  },
)

t.test('a view of what was read is not kept: not of half a frame, nor of a fragment', async t => {
  const { frames, taken } = reader()
  const first = encode(text('ab', OPCODE.text, false))
  frames.read(first)
  first.fill(0)
  const second = encode(text('cd', OPCODE.more))
  const half = second.subarray(0, 7)
  frames.read(half)
  half.fill(0)
  frames.read(second.subarray(7))
  t.same(taken, ['1 abcd'])
})

t.test('close frames: codes that may be sent, and reasons of UTF-8', async t => {
  const of = (code: number, reason: string | Buffer = '') => {
    const bytes = Buffer.from(reason)
    const all = Buffer.alloc(2 + bytes.length)
    all.writeUInt16BE(code)
    bytes.copy(all, 2)
    return all
  }
  for (const good of [Buffer.alloc(0), of(1000), of(1003, 'ä'), of(1007), of(1014), of(3000), of(4999)])
    t.equal(closeFault(good), undefined, good.toString('hex'))
  for (const bad of [0, 999, 1004, 1005, 1006, 1015, 2999, 5000]) t.match(closeFault(of(bad)), { code: 1002 })
  t.match(closeFault(Buffer.of(3)), { code: 1002 })
  t.match(closeFault(of(1000, Buffer.of(0xff))), { code: 1007 })
  t.same(closeFrame(1001, 'ä'), Buffer.of(0x88, 4, 3, 233, 0xc3, 0xa4))
  t.same(controlFrame(OPCODE.ping), Buffer.of(0x89, 0))
})

t.test('handshake: the answer to the key of RFC 6455, and refusals', async t => {
  const good = { 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==', 'sec-websocket-version': '13' }
  const open = new PassThrough()
  t.ok(acceptWebSocket({ method: 'GET', headers: good } as unknown as IncomingMessage, open))
  t.match(
    String(open.read()),
    /^HTTP\/1\.1 101 [\s\S]*\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r\n\r\n$/,
  )
  for (const [headers, method, status] of [
    [good, 'POST', /^HTTP\/1\.1 405 [\s\S]*\r\nAllow: GET\r\n/],
    [{ ...good, 'sec-websocket-key': 'short' }, 'GET', /^HTTP\/1\.1 400 /],
    [{ 'sec-websocket-version': '13' }, 'GET', /^HTTP\/1\.1 400 /],
    [
      { ...good, 'sec-websocket-version': '7' },
      'GET',
      /^HTTP\/1\.1 400 [\s\S]*\r\nSec-WebSocket-Version: 13, 8\r\n/,
    ],
  ] as const) {
    const socket = new PassThrough()
    t.notOk(acceptWebSocket({ method, headers } as unknown as IncomingMessage, socket))
    t.match(String(await socket.toArray()), status)
  }
  const gone = new PassThrough()
  gone.destroy()
  t.notOk(acceptWebSocket({ method: 'GET', headers: good } as unknown as IncomingMessage, gone))
})
