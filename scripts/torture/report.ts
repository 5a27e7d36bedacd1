/** The result for people (a table) and for programs (one line of JSON, the last). */

import type { ServerProcess } from '../server-process.js'
import type { Findings } from './check.js'
import type { Ledger } from './ledger.js'
import type { World } from './world.js'

export interface Summary extends Findings {
  readonly seed: string
  readonly accounts: number
  readonly devices: number
  /** Messages stored more than once, by how their sender resends. */
  readonly doubled: Ledger['doubled']
  readonly graceful: number
  readonly killed: number
  readonly died: number
  readonly unclean: number
  readonly sessionsLost: number
  readonly maxMemory: number
  readonly refused: Readonly<Record<string, number>>
  readonly errors: Readonly<Record<string, number>>
}

export interface Run {
  readonly findings: Findings
  readonly ledger: Ledger
  readonly server: ServerProcess
  readonly world: World
}

export function summarize(seed: string, { findings, ledger, server, world }: Run): Summary {
  return {
    seed,
    accounts: ledger.accounts.length,
    devices: world.clients.length,
    ...findings,
    doubled: ledger.doubled,
    graceful: server.graceful,
    killed: server.killed,
    died: server.died,
    unclean: server.unclean,
    sessionsLost: world.sessionsLost,
    maxMemory: server.maxMemory,
    refused: Object.fromEntries(world.refused),
    errors: Object.fromEntries(server.errors),
  }
}

export function isBroken({
  lost,
  reordered,
  gaps,
  corrupt,
  doubled,
  died,
  unclean,
  sessionsLost,
}: Summary): boolean {
  return (
    lost + reordered + gaps + corrupt + doubled.json + doubled.mqttSession + died + unclean + sessionsLost > 0
  )
}

export function report(summary: Summary): string {
  const { doubled, maxMemory, details, ...json } = summary
  const rows: [string, string | number][] = [
    ['seed', summary.seed],
    ['devices', `${summary.devices} of ${summary.accounts} accounts`],
    ['sent', summary.sent],
    ['acknowledged', summary.acknowledged],
    ['delivered', summary.delivered],
    ['duplicated', `${summary.duplicated} (${summary.repeatedOnConnection} on one connection)`],
    ['lost', summary.lost],
    ['reordered', summary.reordered],
    ['gaps', summary.gaps],
    ['corrupt', summary.corrupt],
    [
      'stored twice',
      `JSON ${doubled.json}, MQTT ${doubled.mqttSession}, and ${doubled.mqttClean} sent again in a new session`,
    ],
    ['sessions lost', summary.sessionsLost],
    [
      'restarts',
      `${summary.graceful} graceful (${summary.unclean} not clean), ${summary.killed} kill -9, ${summary.died} died`,
    ],
    ['refused', list(summary.refused)],
    ['errors logged', list(summary.errors)],
    ['resident memory', `${Math.round(maxMemory / 2 ** 20)} MiB at most, without mapped files`],
  ]
  const table = rows.map(([name, value]) => `${name.padEnd(16)} ${value}\n`).join('')
  const findings = details.map(line => `${line}\n`).join('')
  return `${table}${findings}${JSON.stringify({ ...json, doubled, maxMemory, broken: isBroken(summary) })}\n`
}

const list = (counts: Readonly<Record<string, number>>) =>
  Object.entries(counts)
    .map(([name, count]) => `${name} × ${count}`)
    .join(', ') || 'none'
