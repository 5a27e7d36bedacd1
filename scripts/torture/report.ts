/** Prints the result: a table for people, then one line of JSON for programs. */

import type { ServerProcess } from '../server-process.js'
import type { Findings } from './check.js'
import type { Crowd } from './crowd.js'
import type { Ledger } from './ledger.js'
import type { Restarts } from './restarts.js'
import type { WillFindings } from './will-ledger.js'
import type { Wills } from './wills.js'
import type { World } from './world.js'

export interface Summary extends Findings {
  readonly seed: string
  readonly accounts: number
  readonly devices: number
  /** Messages stored more than once, by kind of sender. */
  readonly doubled: Ledger['doubled']
  readonly graceful: number
  readonly killed: number
  readonly died: number
  readonly unclean: number
  readonly sessionsLost: number
  readonly clockJumps: number
  /** How often the config was read again. */
  readonly reloads: number
  /** Nothing was killed. */
  readonly isGraceful: boolean
  readonly wills: WillFindings
  /** Crowds that used up the descriptors. */
  readonly crowds: number
  /** Crowds during which the server did not serve earlier connections, or after which it accepted no new client. */
  readonly crowdsRefused: number
  readonly maxMemory: number
  readonly refused: Readonly<Record<string, number>>
  readonly errors: Readonly<Record<string, number>>
}

export interface Run {
  readonly findings: Findings
  readonly ledger: Ledger
  readonly server: ServerProcess
  readonly world: World
  readonly wills: Wills
  readonly crowd: Crowd
  readonly restarts: Restarts
  readonly isGraceful: boolean
}

export function summarize(seed: string, run: Run): Summary {
  const { findings, ledger, server, world, crowd, restarts } = run
  return {
    seed,
    accounts: ledger.accounts.length,
    devices: world.clients.length,
    ...findings,
    details: [...findings.details, ...crowd.details],
    doubled: ledger.doubled,
    graceful: server.graceful,
    killed: server.killed,
    died: server.died,
    unclean: server.unclean,
    sessionsLost: world.sessionsLost,
    clockJumps: restarts.clockJumps,
    reloads: restarts.reloads,
    isGraceful: run.isGraceful,
    wills: run.wills.findings(),
    crowds: crowd.full,
    crowdsRefused: crowd.refused,
    maxMemory: server.maxMemory,
    refused: Object.fromEntries(world.refused),
    errors: Object.fromEntries(server.errors),
  }
}

export function isBroken(summary: Summary): boolean {
  const { lost, reordered, gaps, corrupt, idsBack, doubled, wills } = summary
  const messages = [lost, reordered, gaps, corrupt, idsBack, doubled.json, doubled.mqttSession]
  const { died, unclean, sessionsLost, crowdsRefused } = summary
  const server = [died, unclean, sessionsLost, crowdsRefused]
  const twice = summary.isGraceful ? summary.repeatedOnConnection : 0
  return [...messages, twice, wills.missing, wills.repeated, wills.unwanted, ...server].some(
    count => count > 0,
  )
}

export function report(summary: Summary): string {
  const { doubled, maxMemory, details, wills, ...json } = summary
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
    ['ids gone back', `${summary.idsBack}, the clock set ${summary.clockJumps} times`],
    [
      'stored twice',
      `JSON ${doubled.json}, MQTT ${doubled.mqttSession}, and ${doubled.mqttClean} sent again in a new session`,
    ],
    ['sessions lost', summary.sessionsLost],
    [
      'restarts',
      `${summary.graceful} graceful (${summary.unclean} not clean), ${summary.killed} kill -9, ${summary.died} died; ${summary.reloads} × SIGHUP`,
    ],
    [
      'wills',
      `${wills.published} of ${wills.wills} published, ${wills.missing} missing, ${wills.repeated} repeated (${wills.repeatedAtOne} at one reader), ${wills.unwanted} unwanted`,
    ],
    [
      'crowds',
      `${summary.crowds} used up the descriptors, ${summary.crowdsRefused} found the server refusing`,
    ],
    ['refused', list(summary.refused)],
    ['errors logged', list(summary.errors)],
    ['resident memory', `${Math.round(maxMemory / 2 ** 20)} MiB at most, without mapped files`],
  ]
  const table = rows.map(([name, value]) => `${name.padEnd(16)} ${value}\n`).join('')
  const findings = [...details, ...wills.details].map(line => `${line}\n`).join('')
  const { details: _, ...willCounts } = wills
  const end = { ...json, doubled, wills: willCounts, maxMemory, broken: isBroken(summary) }
  return `${table}${findings}${JSON.stringify(end)}\n`
}

const list = (counts: Readonly<Record<string, number>>) =>
  Object.entries(counts)
    .map(([name, count]) => `${name} × ${count}`)
    .join(', ') || 'none'
