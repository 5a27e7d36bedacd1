/** The interface of a scenario, and its options. */
import type { Values } from './chat.js'
import type { Peer, Wire } from './peers.js'
import type { Program } from './program.js'

export interface Options {
  /** Duration of each measurement. */
  readonly seconds: number
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
  run(context: Context): Promise<Step[]>
}
