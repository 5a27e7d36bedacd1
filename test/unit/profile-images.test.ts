/** The picture of an account: what is kept of it, under which name, and how it is served. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import type { Picture } from '../../src/images/pictures.js'
import { imageNameIn, ProfileImages } from '../../src/images/profile-images.js'
import { imagesRoute } from '../../src/images/route.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import { dataDir } from '../helpers/gateway.js'
import { ANN, BOB, user } from '../helpers/store-samples.js'

async function setUp(t: Test) {
  const store = new EmbeddedStore({ dir: dataDir(t), durability: 'commit', dedupWindowMs: 1000 })
  await store.open()
  t.teardown(() => store.close())
  for (const id of [ANN, BOB]) await store.users.createUser(user(id))
  const make = async (image: Uint8Array): Promise<Picture[]> =>
    [256, 64].map(width => ({
      ...{ type: image[0] === 1 ? 'image/png' : 'image/jpeg', width, height: width },
      bytes: Buffer.from(`${image[0]}-${width}`),
    }))
  const images = new ProfileImages(store.shared, { make }, (id, profileImage) =>
    store.users.changeUser(id, { profileImage }),
  )
  const shown = async (id: string) => (await store.users.findUser(id))?.profileImage
  return { store, images, shown }
}

const fine = () => undefined

t.test('an image has the digest of what it is as its name, and the one before it goes', async t => {
  const { store, images, shown } = await setUp(t)
  const first = await images.put(ANN, Buffer.from([0]), fine)
  t.match(first, /^\/images\/[\w-]{32}$/)
  t.equal(await shown(ANN), first)
  const name = imageNameIn(first) ?? ''
  t.match(await images.find(name), { type: 'image/jpeg', bytes: Buffer.from('0-256') })
  t.match(await images.find(`${name}-64`), { type: 'image/jpeg', bytes: Buffer.from('0-64') })
  t.equal(await images.put(ANN, Buffer.from([0]), fine), first, 'the same again')
  const others = await images.put(BOB, Buffer.from([0]), fine)
  t.not(others, first, 'of another account it has another name')
  const second = await images.put(ANN, Buffer.from([1]), fine)
  t.equal(await shown(ANN), second)
  t.match(await images.find(imageNameIn(second) ?? ''), { type: 'image/png' })
  t.equal(await images.find(name), undefined)
  t.equal((await store.shared.sharedOf('images', ANN)).length, 2)
  await images.remove(ANN, fine)
  t.equal(await shown(ANN), '')
  t.same(await store.shared.sharedOf('images', ANN), [])
  t.ok(await images.find(imageNameIn(others) ?? ''))
  await store.users.deleteUser(BOB)
  t.equal(await images.find(imageNameIn(others) ?? ''), undefined, 'it goes with its account')
})

t.test(
  'a login that was revoked while the image was decoded changes nothing; of two at once one stays',
  async t => {
    const { store, images, shown } = await setUp(t)
    const revoked = () => {
      throw new Error('revoked')
    }
    await t.rejects(images.put(ANN, Buffer.from([0]), revoked), /revoked/)
    await t.rejects(images.remove(ANN, revoked), /revoked/)
    t.equal(await shown(ANN), '')
    t.same(await store.shared.sharedOf('images', ANN), [])
    await Promise.all([2, 3, 4].map(one => images.put(ANN, Buffer.from([one]), fine)))
    t.equal((await store.shared.sharedOf('images', ANN)).length, 2)
    t.ok(await images.find(imageNameIn((await shown(ANN)) ?? '') ?? ''))
  },
)

t.test('no path is one of an image but those that are', async t => {
  const name = 'a'.repeat(32)
  t.equal(imageNameIn(`/images/${name}`), name)
  t.equal(imageNameIn(`/images/${name}-64`), `${name}-64`)
  const others = [
    ...['', '/', '/images', '/images/', `/images/${name}a`, `/images/${name}-65`, `/images/${name}/`],
    ...[`/images/../${name}`, '/images/..%2f..%2fetc%2fpasswd', `/images/${name}%00`, `/x/images/${name}`],
    ...[`//images/${name}`, `/images/${name}\n`, `/images/${'../'.repeat(10)}aa`],
  ]
  for (const path of others) t.equal(imageNameIn(path), undefined, path)
})

t.test('a store that cannot be asked is told by a status and in the log', async t => {
  const failed: unknown[] = []
  const find = async () => {
    throw new Error('down')
  }
  const route = imagesRoute({ find }, thrown => void failed.push(thrown))
  const server = createServer((request, response) => void route(request, response))
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const response = await fetch(`http://127.0.0.1:${port}/images/${'a'.repeat(32)}`)
  t.equal(response.status, 503)
  t.equal(response.headers.get('retry-after'), '10')
  t.match(failed, [{ message: 'down' }])
})
