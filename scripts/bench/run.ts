/** Runs a scenario with all wires and all peers in turn, round by round. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Peer, Wire } from './peers.js'
import { type Program, withFolder } from './program.js'
import type { Result } from './results.js'
import type { Context, Options, Scenario, Step } from './scenario.js'

export interface Plan {
  readonly peers: readonly Peer[]
  readonly wires: readonly string[]
  readonly rounds: number
  readonly options: Options
  /** Measured by peers that are not the gateway, which it prepares nothing for. */
  readonly program: Program
}

export async function runAll(
  scenario: Scenario,
  { peers, wires, rounds, options, program }: Plan,
  record: (result: Result) => void,
): Promise<void> {
  const chosen = scenario.wires.filter(wire => wires.includes(wire))
  for (let round = 1; round <= rounds; round++) for (const wire of chosen) await runWire(wire, round)

  async function runWire(wire: Wire, round: number): Promise<void> {
    const contestants = peers.filter(
      peer =>
        peer.wires.includes(wire) && (peer.program !== undefined || scenario.against.includes(peer.name)),
    )
    await withFolder(root =>
      runRound(
        scenario,
        contestants.map((peer, n) => contextOf(peer, wire, join(root, String(n)))),
        ({ name }, { step, values }) =>
          record({ scenario: scenario.name, wire, step, peer: name, round, values }),
      ),
    )
  }

  function contextOf(peer: Peer, wire: Wire, dir: string): Context {
    return { peer, wire, program: peer.program ?? program, dir, options }
  }
}

/** One round. Peers of a scenario that yields its steps take turns, step by step; otherwise each runs to its end. */
async function runRound(
  scenario: Scenario,
  contexts: readonly Context[],
  record: (peer: Peer, step: Step) => void,
): Promise<void> {
  const open: { peer: Peer; steps: AsyncGenerator<Step> }[] = []
  try {
    for (const context of contexts) {
      const { peer, dir } = context
      mkdirSync(dir)
      const steps = scenario.run(context)
      if (Symbol.asyncIterator in steps) open.push({ peer, steps })
      else for (const step of await steps) record(peer, step)
    }
    await runStepsInTurn(open, record)
  } finally {
    await Promise.all(open.map(({ steps }) => steps.return(undefined)))
    await Promise.all(contexts.map(({ program, dir }) => program.forget(dir)))
  }
}

async function runStepsInTurn(
  open: readonly { peer: Peer; steps: AsyncGenerator<Step> }[],
  record: (peer: Peer, step: Step) => void,
): Promise<void> {
  let running = open
  while (running.length > 0) {
    const ended = new Set<AsyncGenerator<Step>>()
    for (const { peer, steps } of running) {
      const { done, value } = await steps.next()
      if (done === true) ended.add(steps)
      else record(peer, value)
    }
    running = running.filter(({ steps }) => !ended.has(steps))
  }
}
