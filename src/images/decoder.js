// Runs in a process of its own for one picture (pictures.ts), since it gives bytes of strangers to C libraries. Plain
// JavaScript: Node.js runs it as it is, also where the sources are run.
//
// It reads one line of JSON and then the picture from stdin, and writes one line of JSON and then what it made to stdout:
// {"pictures":[{"type","width","height","bytes"}]}, or {"fault":"…"} for the client, or {"missing":"…"} for the operator.
import { buffer } from 'node:stream/consumers'

/** What browsers and cameras make. Nothing that has a script, other files or pages in it: no SVG, PDF, TIFF or HEIF. */
const LOADERS = [
  'VipsForeignLoadJpegBuffer',
  'VipsForeignLoadPngBuffer',
  'VipsForeignLoadWebpBuffer',
  'VipsForeignLoadNsgifBuffer',
]
const NEW_LINE = 10
const OPAQUE = 255

const all = await buffer(process.stdin)
const end = all.indexOf(NEW_LINE)
const { sizes, maxPixels } = JSON.parse(all.subarray(0, end).toString())
const bytes = all.subarray(end + 1)

const sharp = await import('sharp').then(
  module => module.default,
  thrown => answer({ missing: String(thrown?.message).split('\n', 1)[0] }),
)
if (sharp !== undefined) {
  sharp.block({ operation: ['VipsForeignLoad'] })
  sharp.unblock({ operation: LOADERS })
  sharp.cache(false)
  sharp.concurrency(1)
  await makeAll(sharp).then(
    made => answer({ pictures: made.map(({ data, ...about }) => ({ ...about, bytes: data.length })) }, made),
    thrown => answer({ fault: wordsOf(String(thrown?.message)) }),
  )
}

async function makeAll(sharp) {
  const made = []
  for (const size of sizes) made.push(await make(sharp, size))
  return made
}

/** From raw pixels, so that nothing but pixels is in what is made. Only the first picture of an animation is taken. */
async function make(sharp, { width, height, fit }) {
  const { data: pixels, info } = await sharp(bytes, {
    limitInputPixels: maxPixels,
    failOn: 'error',
    pages: 1,
  })
    .autoOrient()
    .resize({ width, height, fit, withoutEnlargement: fit === 'inside' })
    .toColourspace('srgb')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true })
  const { channels } = info
  const isOpaque = channels === 1 || channels === 3 || isAllOpaque(pixels, channels)
  const raw = sharp(pixels, { raw: { width: info.width, height: info.height, channels } })
  const picture = isOpaque
    ? raw.removeAlpha().jpeg({ quality: 82, mozjpeg: true })
    : raw.png({ palette: true, quality: 90 })
  const { data } = await picture.toBuffer({ resolveWithObject: true })
  return { type: isOpaque ? 'image/jpeg' : 'image/png', width: info.width, height: info.height, data }
}

/** Alpha is the last channel. */
function isAllOpaque(pixels, channels) {
  for (let at = channels - 1; at < pixels.length; at += channels) if (pixels[at] !== OPAQUE) return false
  return true
}

function wordsOf(message) {
  if (/pixel limit/i.test(message)) return 'has too many pixels'
  if (/unsupported image format|blocked|bad seek/i.test(message))
    return 'is not a JPEG, PNG, WebP or GIF image'
  return 'is damaged'
}

function answer(head, made = []) {
  process.stdout.write(`${JSON.stringify(head)}\n`)
  for (const { data } of made) process.stdout.write(data)
}
