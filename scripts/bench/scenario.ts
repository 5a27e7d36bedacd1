/** What a scenario is, and what it is given. */
import type { Values } from './chat.js'
import type { Peer, Wire } from './peers.js'
import type { Program } from './program.js'

export interface Options {
  /** Of each measurement. */
  readonly seconds: number
  /** Also what takes many minutes. */
  readonly big: boolean
  /** `offline`: that wait for 100 users together. */
  readonly messages: number
  /** `login`: how many at once. */
  readonly logins: number
  /** `grow`: the last step. */
  readonly maxMessages: number
}

export interface Context {
  readonly peer: Peer
  readonly wire: Wire
  readonly program: Program
  /** Empty. */
  readonly dir: string
  readonly options: Options
}

export interface Step {
  /** What changes from step to step: '10,000 idle'. '' where there is one step. */
  readonly step: string
  readonly values: Values
}

export interface Scenario {
  readonly name: string
  readonly wires: readonly Wire[]
  /** Who takes part besides the program, of those who speak the wire. */
  readonly against: readonly string[]
  run(context: Context): Promise<Step[]>
}
