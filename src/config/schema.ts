/**
 * All config keys, in the order of docs/config.md. Each file of keys/ holds one group: format, default and description.
 */
import type { Key } from './formats.js'
import { ACCOUNTS } from './keys/accounts.js'
import { DATA } from './keys/data.js'
import { DELIVERY } from './keys/delivery.js'
import { FILES } from './keys/files.js'
import { FRONT_ENDS } from './keys/front-ends.js'
import { LIMITS } from './keys/limits.js'
import { OPERATION } from './keys/operation.js'

export const SCHEMA = {
  ...FRONT_ENDS,
  ...DATA,
  ...DELIVERY,
  ...LIMITS,
  ...ACCOUNTS,
  ...FILES,
  ...OPERATION,
} as const

type Parsed<Node> = Node extends Key<infer T> ? T : { readonly [K in keyof Node]: Parsed<Node[K]> }

/** The effective config, frozen. Durations are in ms, sizes in bytes. */
export type Config = Parsed<typeof SCHEMA>

/** All keys by dotted name, in the order of the schema. */
export const KEYS: ReadonlyMap<string, Key<unknown>> = new Map(Object.entries(SCHEMA).flatMap(keysOf))

function keysOf([name, node]: [string, Key<unknown> | object]): [string, Key<unknown>][] {
  if (isKey(node)) return [[name, node]]
  return Object.entries(node).flatMap(([key, leaf]) => keysOf([`${name}.${key}`, leaf]))
}

function isKey(node: object): node is Key<unknown> {
  return 'doc' in node
}

/** The environment variable of a key: `mqtt.maxPacketBytes` → MUMI_MQTT_MAX_PACKET_BYTES. */
export const envName = (key: string): string =>
  `MUMI_${key
    .replace(/([a-z])([A-Z])/g, '$1_$2')
    .replaceAll('.', '_')
    .toUpperCase()}`
