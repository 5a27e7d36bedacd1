/**
 * `load`: 50 pairs at the chosen loads: open loops of some messages a second, and closed loops with some messages
 * unacknowledged. All peers run at once, and each step is measured for one after the other, so that they meet the same
 * machine.
 */
import { Chat, type Load, type Run, type Values } from './chat.js'
import type { Context, Scenario, Step } from './scenario.js'

const USERS = 100
/** The first seconds of the program, when its code is interpreted; shown apart. */
const COLD_SECONDS = 2
/** Before the steps: large groups first, then single messages, so that the paths of both are compiled. */
const WARM_UP: readonly { run: Run; seconds: number }[] = [
  { run: { load: { window: 16 } }, seconds: 5 },
  { run: { load: { window: 1 } }, seconds: 3 },
  { run: { load: { rate: 2000 }, generator: 'batching' }, seconds: 3 },
]
/** Before each step. */
const STEP_WARM_UP_SECONDS = 1

/** The values to show of a step; the others say nothing about a load. */
const SHOWN = [
  'CPU µs a message',
  'messages/s',
  'p50 ms',
  'p99 ms',
  'max ms',
  'ack p50 ms',
  'ack p99 ms',
  'server CPU %',
  'generator CPU %',
  'lost',
  'duplicated',
  'reordered',
  'damaged',
]

async function* run({ peer, wire, dir, options, program }: Context): AsyncGenerator<Step> {
  if (peer.program !== undefined) await program.addUsers(dir, 0, USERS)
  const server = await peer.start(dir)
  try {
    const chat = await Chat.open({ peer, server, wire, users: USERS, bothWays: options.bothWays })
    yield {
      step: `first ${COLD_SECONDS} s`,
      values: shown(await chat.measureFor(COLD_SECONDS, { load: { window: 16 } })),
    }
    for (const { run, seconds } of WARM_UP) await chat.measureFor(seconds, run)
    for (const load of options.loads) {
      for (const generator of options.generators) {
        const values = await chat.measureFor(options.seconds, {
          load,
          generator,
          warmUpSeconds: STEP_WARM_UP_SECONDS,
        })
        yield { step: `${nameOf(load)} ${generator}`, values: shown(values) }
      }
    }
    await chat.close()
  } finally {
    await server.stop()
  }
}

/** The name of a load in results and limits: `2000/s` or `window 16`. */
export const nameOf = (load: Load): string => ('rate' in load ? `${load.rate}/s` : `window ${load.window}`)

const shown = (values: Values): Values => Object.fromEntries(SHOWN.map(name => [name, values[name] ?? 0]))

export const load: Scenario = {
  name: 'load',
  wires: ['json', 'mqtt', 'mqtt5'],
  against: ['relay', 'socketio', 'aedes', 'mosquitto'],
  run,
}
