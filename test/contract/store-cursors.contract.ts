/** Cursors, one per device. Part of store.contract.ts. */
import type { Test } from 'tap'
import { ANN, BOB, move, type OpenStore } from '../helpers/store-samples.js'

export function cursorsContract(t: Test, open: OpenStore): void {
  t.test('has no cursor for an unknown device', async t => {
    const { store } = await open(t)
    t.equal(await store.cursors.cursor(ANN, ''), undefined)
    t.equal(await store.cursors.furthest(ANN), 0)
    t.equal(await store.cursors.slowest(ANN), undefined)
    await t.resolves(store.cursors.moveCursors([]))
  })

  t.test('keeps a cursor for each device', async t => {
    const { store } = await open(t)
    const devices = ['', 'a', 'ab', 'b', 'a\u0000b', '手機', '😀', 'd'.repeat(300)]
    await store.cursors.moveCursors([
      ...devices.map((device, i) =>
        move(ANN, device, { confirmed: i + 1, sent: i + 10, released: [i + 2, i + 4] }),
      ),
      move(BOB, 'a', { confirmed: 50, sent: 60 }),
    ])
    for (const [i, device] of devices.entries()) {
      t.same(await store.cursors.cursor(ANN, device), {
        confirmed: i + 1,
        sent: i + 10,
        released: [i + 2, i + 4],
      })
    }
    t.equal(await store.cursors.cursor(ANN, 'abc'), undefined)
    t.same(await store.cursors.cursor(BOB, 'a'), { confirmed: 50, sent: 60, released: [] })
    t.equal(await store.cursors.cursor(BOB, ''), undefined)
  })

  t.test(
    'lists the devices of an account, those with the lowest names first where there are many',
    async t => {
      const { store } = await open(t)
      t.same(await store.cursors.devices(ANN, 10), [])
      const place = { confirmed: 3, sent: 9, released: [5] }
      await store.cursors.moveCursors([
        ...['手機', 'ab', '', 'a'].map(device => move(ANN, device, { ...place, seenAt: 7 })),
        move(BOB, 'b', {}),
      ])
      const all = ['', 'a', 'ab', '手機'].map(device => ({ device, ...place, seenAt: 7 }))
      t.same(await store.cursors.devices(ANN, 10), all)
      t.same(await store.cursors.devices(ANN, 2), all.slice(0, 2))
    },
  )

  t.test('keeps what is settled behind the cursor, as the last move has it', async t => {
    const { store } = await open(t)
    const place = {
      confirmed: 1,
      sent: 9,
      released: [2],
      settled: [
        [3, 4],
        [6, 6],
      ] as const,
    }
    await store.cursors.moveCursors([move(ANN, 'a', { ...place, seenAt: 7 })])
    t.same(await store.cursors.cursor(ANN, 'a'), place)
    t.same(await store.cursors.devices(ANN, 9), [{ device: 'a', ...place, seenAt: 7 }])
    await store.cursors.moveCursors([move(ANN, 'a', { confirmed: 9, sent: 9 })])
    t.same(await store.cursors.cursor(ANN, 'a'), { confirmed: 9, sent: 9, released: [] })
  })

  t.test('never moves `confirmed` back, whatever the rest of the move', async t => {
    const { store } = await open(t)
    await store.cursors.moveCursors([move(ANN, 'a', { confirmed: 7, sent: 9, released: [8] })])
    await store.cursors.moveCursors([move(ANN, 'a', { confirmed: 5, sent: 12, released: [] })])
    t.same(await store.cursors.cursor(ANN, 'a'), { confirmed: 7, sent: 12, released: [] })
    await store.cursors.moveCursors([move(ANN, 'a', { confirmed: 9 }), move(ANN, 'a', { confirmed: 8 })])
    t.match(await store.cursors.cursor(ANN, 'a'), { confirmed: 9 }, 'nor within one call')
    await Promise.all(
      [30, 10, 40, 20].map(confirmed => store.cursors.moveCursors([move(ANN, 'a', { confirmed })])),
    )
    t.match(await store.cursors.cursor(ANN, 'a'), { confirmed: 40 }, 'nor when calls race')
    t.equal(await store.cursors.furthest(ANN), 40)
  })

  t.test('knows the furthest and the slowest device of an account', async t => {
    const { store } = await open(t)
    await store.cursors.moveCursors([
      move(ANN, 'a', { confirmed: 3 }),
      move(ANN, 'ab', { confirmed: 8 }),
      move(BOB, 'a', { confirmed: 1 }),
    ])
    t.equal(await store.cursors.furthest(ANN), 8)
    t.equal(await store.cursors.slowest(ANN), 3)
    await store.cursors.moveCursors([move(ANN, 'a', { confirmed: 10 })])
    t.equal(await store.cursors.furthest(ANN), 10)
    t.equal(await store.cursors.slowest(ANN), 8)
    await store.cursors.moveCursors([move(ANN, 'new', { confirmed: 0 })])
    t.equal(await store.cursors.slowest(ANN), 0)
    t.equal(await store.cursors.furthest(BOB), 1)
    t.equal(await store.cursors.slowest(BOB), 1)
  })

  t.test('forgets devices that were not seen for long, except the default one', async t => {
    const { store } = await open(t)
    await store.cursors.moveCursors([
      move(ANN, '', { seenAt: 1, confirmed: 1 }),
      move(ANN, 'old', { seenAt: 99, confirmed: 5 }),
      move(ANN, 'kept', { seenAt: 100, confirmed: 2 }),
      move(BOB, 'old', { seenAt: 1 }),
      move(BOB, 'back again', { seenAt: 1 }),
      move(BOB, 'back again', { seenAt: 200 }),
    ])
    t.equal(await store.cursors.forgetDevices(100), 2)
    t.equal(await store.cursors.forgetDevices(100), 0)
    t.equal(await store.cursors.cursor(ANN, 'old'), undefined)
    t.equal(await store.cursors.cursor(BOB, 'old'), undefined)
    t.match(await store.cursors.cursor(ANN, ''), { confirmed: 1 })
    t.match(await store.cursors.cursor(ANN, 'kept'), { confirmed: 2 })
    t.ok(await store.cursors.cursor(BOB, 'back again'))
    t.equal(await store.cursors.slowest(ANN), 1)
    t.equal(await store.cursors.furthest(ANN), 5, 'what it had confirmed stays confirmed')
  })

  t.test('forgets thousands of devices', async t => {
    const { store } = await open(t)
    const devices = Array.from({ length: 2500 }, (_, i) => move(ANN, `device ${i}`, { seenAt: i }))
    await store.cursors.moveCursors(devices)
    t.equal(await store.cursors.forgetDevices(2400), 2400)
    t.equal(await store.cursors.cursor(ANN, 'device 2399'), undefined)
    t.ok(await store.cursors.cursor(ANN, 'device 2400'))
  })
}
