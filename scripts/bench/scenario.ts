/** The interface of a scenario, and its options. */
import type { Load, Values } from './chat.js'
import type { Peer, Wire } from './peers.js'
import type { Program } from './program.js'
import type { Generator } from './turns.js'

export interface Options {
  /** Duration of each measurement. */
  readonly seconds: number
  /** `load`: what to measure, in this order. */
  readonly loads: readonly Load[]
  readonly generators: readonly Generator[]
  /** `load`: both users of a pair send. */
  readonly bothWays: boolean
  /** Include steps that take many minutes. */
  readonly big: boolean
  /** `offline`: number of messages that wait, for 100 users together. */
  readonly messages: number
  /** `login`: number of logins at once. */
  readonly logins: number
  /** `grow`: number of messages in the last step. */
  readonly maxMessages: number
}

export interface Context {
  readonly peer: Peer
  readonly wire: Wire
  readonly program: Program
  /** An empty folder. */
  readonly dir: string
  readonly options: Options
}

export interface Step {
  /** Name of the step, such as '10,000 idle'; '' if there is only one. */
  readonly step: string
  readonly values: Values
}

export interface Scenario {
  readonly name: string
  readonly wires: readonly Wire[]
  /** Peers to measure besides the gateway, if they speak the wire. */
  readonly against: readonly string[]
  /**
   * Returns the steps, or yields them: then all peers run at once and take turns, step by step, so that a step of all peers
   * meets the same machine.
   */
  run(context: Context): Promise<Step[]> | AsyncGenerator<Step>
}
