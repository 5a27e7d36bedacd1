/** Images that clients send become small pictures, or are refused, and nothing but their pixels goes on. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import t, { type Test } from 'tap'
import { GatewayError } from '../../src/core/errors.js'
import { type PictureOptions, type PictureSize, Pictures } from '../../src/images/pictures.js'

const [ANN, BOB] = ['100000001', '100000002']

const LARGE: PictureSize = { width: 256, height: 256, fit: 'cover' }
const SMALL: PictureSize = { width: 64, height: 64, fit: 'cover' }
const OPTIONS: PictureOptions = { maxPixels: 1_000_000, timeoutMs: 60_000, maxWaiting: 8 }

const pictures = new Pictures(OPTIONS)

const photo = (width = 600, height = 400) =>
  sharp({ create: { width, height, channels: 3, background: '#3366cc' } })
const glass = (width = 300, height = 200) =>
  sharp({ create: { width, height, channels: 4, background: { r: 200, g: 10, b: 10, alpha: 0.5 } } })

const refused = (reason: string) => new GatewayError('BAD_FIELD', { field: 'image', reason })

t.test('each kind becomes pictures of the sizes asked for', async t => {
  const files = {
    jpeg: await photo().jpeg().toBuffer(),
    png: await photo().png().toBuffer(),
    webp: await photo().webp().toBuffer(),
    gif: await photo().gif().toBuffer(),
    grey: await photo().greyscale().png().toBuffer(),
    cmyk: await photo().toColourspace('cmyk').jpeg().toBuffer(),
  }
  for (const [name, file] of Object.entries(files)) {
    const made = await pictures.make(file, [LARGE, SMALL], ANN)
    t.match(made, [
      { type: 'image/jpeg', width: 256, height: 256 },
      { type: 'image/jpeg', width: 64, height: 64 },
    ])
    for (const { bytes, width } of made)
      t.match(await sharp(bytes).metadata(), { format: 'jpeg', width, space: 'srgb' }, name)
  }
})

t.test('what lets light through stays so, as PNG; a whole image is not enlarged', async t => {
  const [made] = await pictures.make(
    await glass().png().toBuffer(),
    [{ width: 1000, height: 1000, fit: 'inside' }],
    ANN,
  )
  t.match(made, { type: 'image/png', width: 300, height: 200 })
  const { channels } = await sharp(made?.bytes).stats()
  const { mean = 0 } = channels[3] ?? {}
  t.ok(mean > 120 && mean < 135, `half of it: ${mean}`)
})

t.test('an image stands upright, and nothing of its metadata goes on', async t => {
  const file = await photo(600, 300)
    .jpeg()
    .withMetadata({ orientation: 6, exif: { IFD0: { Copyright: 'WHERE-I-LIVE' } } })
    .toBuffer()
  t.ok(file.includes('WHERE-I-LIVE'))
  const [made] = await pictures.make(file, [{ width: 100, height: 100, fit: 'inside' }], ANN)
  t.match(made, { width: 50, height: 100 })
  t.notOk(made?.bytes.includes('WHERE-I-LIVE'))
  const { exif, icc, xmp, orientation } = await sharp(made?.bytes).metadata()
  t.same([exif, icc, xmp, orientation], [undefined, undefined, undefined, undefined])
})

t.test('of an animation the first picture is taken', async t => {
  const frames = [await photo(50, 50).png().toBuffer(), await glass(50, 50).png().toBuffer()]
  const file = await sharp(frames, { join: { animated: true } })
    .webp()
    .toBuffer()
  t.equal((await sharp(file).metadata()).pages, 2)
  t.match(await pictures.make(file, [SMALL], ANN), [{ type: 'image/jpeg', width: 64, height: 64 }])
})

t.test('a polyglot loses all that is not a picture', async t => {
  const script = '<script>alert(1)</script>'
  const jpeg = await photo().jpeg().toBuffer()
  // Behind the picture's end, and in a comment of JPEG.
  const comment = Buffer.concat([Buffer.from([0xff, 0xfe, 0, script.length + 2]), Buffer.from(script)])
  const file = Buffer.concat([jpeg.subarray(0, 2), comment, jpeg.subarray(2), Buffer.from(script)])
  const [made] = await pictures.make(file, [SMALL], ANN)
  t.ok(file.includes(script))
  t.notOk(made?.bytes.includes('script'))
})

t.test('what is no picture, or one that could do more than show itself, is refused', async t => {
  const no = 'is not a JPEG, PNG, WebP or GIF image'
  const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>'
  const files = {
    svg: Buffer.from(svg),
    xml: Buffer.from(`<?xml version="1.0"?>${svg}`),
    tiff: await photo().tiff().toBuffer(),
    avif: await photo(64, 64).avif().toBuffer(),
    pdf: Buffer.from('%PDF-1.4\n'),
    text: Buffer.from('hello'),
  }
  for (const [name, file] of Object.entries(files))
    await t.rejects(pictures.make(file, [SMALL], ANN), refused(no), name)
  await t.rejects(pictures.make(Buffer.alloc(0), [SMALL], ANN), refused('is damaged'), 'nothing')
  const jpeg = await photo().jpeg().toBuffer()
  await t.rejects(
    pictures.make(jpeg.subarray(0, jpeg.length / 2), [SMALL], ANN),
    refused('is damaged'),
    'a half',
  )
})

t.test('a bomb is refused by what its header says, before it is decoded', async t => {
  const bomb = await photo(10, 10).png().toBuffer()
  bomb.writeUInt32BE(60_000, 16)
  bomb.writeUInt32BE(60_000, 20)
  await t.rejects(pictures.make(bomb, [SMALL], ANN), refused('has too many pixels'))
  const real = await photo(1100, 1000).png().toBuffer()
  await t.rejects(pictures.make(real, [SMALL], ANN), refused('has too many pixels'))
})

/** A decoder that does something else. */
function other(t: Test, code: string): string {
  const file = join(t.testdir({}), 'decoder.mjs')
  writeFileSync(file, code)
  return file
}

t.test(
  'a decoder that hangs is ended, one that writes no end, too, and one that dies harms nobody',
  async t => {
    const cannot = refused('cannot be decoded')
    const hangs = new Pictures({
      ...OPTIONS,
      timeoutMs: 300,
      decoder: other(t, 'setInterval(() => {}, 1e6)'),
    })
    await t.rejects(hangs.make(Buffer.from('x'), [SMALL], ANN), cannot)
    const floods = other(t, 'const go = () => process.stdout.write(Buffer.alloc(1e6), go); go()')
    await t.rejects(
      new Pictures({ ...OPTIONS, decoder: floods }).make(Buffer.from('x'), [SMALL], ANN),
      cannot,
    )
    const dies = new Pictures({ ...OPTIONS, decoder: other(t, 'process.abort()') })
    await t.rejects(dies.make(Buffer.alloc(1_000_000), [SMALL], ANN), cannot)
    const short = `console.log('{"pictures":[{"bytes":9}]}')`
    await t.rejects(
      new Pictures({ ...OPTIONS, decoder: other(t, short) }).make(Buffer.from('x'), [SMALL], ANN),
      cannot,
    )
  },
)

t.test('where the library is missing, the refusal says so', async t => {
  const missing = `console.log('{"missing":"Could not load the sharp module"}')`
  const pictures = new Pictures({ ...OPTIONS, decoder: other(t, missing) })
  await t.rejects(
    pictures.make(Buffer.from('x'), [SMALL], ANN),
    new GatewayError('IMAGES_UNAVAILABLE', { reason: 'Could not load the sharp module' }),
  )
})

t.test('images are decoded one at a time, few wait, and a close ends them', async t => {
  const hangs = new Pictures({ ...OPTIONS, maxWaiting: 1, decoder: other(t, 'setInterval(() => {}, 1e6)') })
  const first = hangs.make(Buffer.from('x'), [SMALL], ANN)
  const second = hangs.make(Buffer.from('x'), [SMALL], ANN)
  await t.rejects(hangs.make(Buffer.from('x'), [SMALL], ANN), new GatewayError('IMAGES_BUSY'))
  const ended = Promise.allSettled([first, second])
  hangs.close()
  t.match(await ended, [{ status: 'rejected' }, { status: 'rejected' }])
})

t.test(
  'accounts take turns: many images of one hold up no other, and the newest of the most is refused',
  async t => {
    const order: string[] = []
    const pictures = new Pictures({ ...OPTIONS, maxWaiting: 4 })
    const image = await sharp({ create: { width: 8, height: 8, channels: 3, background: 'red' } })
      .png()
      .toBuffer()
    const make = (account: string, name: string) =>
      pictures.make(
        async () => {
          order.push(name)
          return image
        },
        [SMALL],
        account,
      )
    const many = ['1', '2', '3', '4', '5', '6'].map(name => make(ANN, name))
    const others = [make(BOB, 'bob'), make('100000003', 'eve')]
    const ended = await Promise.allSettled([...many, ...others])
    t.same(
      ended.map(({ status }) => status === 'fulfilled'),
      [true, true, true, false, false, false, true, true],
    )
    t.same(order, ['1', '2', 'bob', 'eve', '3'], 'and nothing of an image is read before its turn')
    for (const one of ended) if (one.status === 'rejected') t.match(one.reason, { kind: 'IMAGES_BUSY' })
  },
)
