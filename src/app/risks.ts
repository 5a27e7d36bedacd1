/** What of a config works and will hurt: each as a line for the operator. */
import { statfsSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { Config } from '../config/config.js'

/** Types of file systems by statfs(2), linux/magic.h: locks and memory maps of another machine's files do not do what LMDB needs. */
const NETWORK: ReadonlyMap<number, string> = new Map([
  [0x6969, 'NFS'],
  [0x517b, 'SMB'],
  [0xff534d42, 'CIFS'],
  [0xfe534d42, 'SMB2'],
  [0x5346414f, 'AFS'],
  [0x00c36400, 'Ceph'],
  [0x01021997, '9P'],
  [0x01161970, 'GFS2'],
  [0x7461636f, 'OCFS2'],
  [0x0bd00bd0, 'Lustre'],
  [0x47504653, 'GPFS'],
  [0x73757245, 'Coda'],
])
const FUSE = 0x65735546

/** @param files of the config @param typeOf type of the file system of a path; throws if there is none */
export function risks(
  config: Config,
  files: readonly string[],
  typeOf: (path: string) => number = path => statfsSync(path).type,
): string[] {
  return [...placeRisks(config, typeOf), ...readableRisks(config, files), ...originRisks(config)]
}

function placeRisks({ store, data }: Config, typeOf: (path: string) => number): string[] {
  if (store.type !== 'embedded') return []
  // It is negative where a C long has 32 bits.
  const type = typeThere(resolve(data.dir), typeOf) >>> 0
  const name = NETWORK.get(type)
  if (name !== undefined)
    return [
      `data.dir: ${data.dir} is on a network file system (${name}): the store may be damaged there; use a local disk`,
    ]
  if (type === FUSE)
    return [
      `data.dir: ${data.dir} is on a FUSE file system: if it is one of a network, the store may be damaged there`,
    ]
  return []
}

/** Of the folder, or of the nearest one above it that is there. */
function typeThere(path: string, typeOf: (path: string) => number): number {
  try {
    return typeOf(path)
  } catch {
    return dirname(path) === path ? 0 : typeThere(dirname(path), typeOf)
  }
}

const OTHERS = 0o004

/** Group is left out: system packages give keys to a group on purpose. */
function readableRisks({ tls, store }: Config, files: readonly string[]): string[] {
  const isReadable = (path: string) => {
    const mode = statSync(path, { throwIfNoEntry: false })?.mode ?? 0
    return (mode & OTHERS) !== 0
  }
  const key =
    tls.key !== '' && isReadable(tls.key) ? [`tls.key: everybody may read ${tls.key}; chmod o-r it`] : []
  const hasSecret = /:[^/@]+@/.test(store.mongodb.url)
  const secret = hasSecret ? files.filter(isReadable) : []
  return [
    ...key,
    ...secret.map(
      file => `${file}: everybody may read it, and store.mongodb.url has a password; chmod o-r it`,
    ),
  ]
}

/** Longest name of a host (RFC 1035, 2.3.4). */
const MAX_HOST = 253

function originRisks({ http, tls }: Config): string[] {
  const isPlain = !(tls.cert !== '' && http.tls) && http.trustProxy.length === 0
  const long = http.origins.filter(
    one => one.includes('*') && one.replace(/^\w+:\/\/\*/, 'a').length > MAX_HOST,
  )
  const blocked = isPlain
    ? http.origins.filter(one => one.startsWith('https:') && !/[/.]localhost\b/.test(one))
    : []
  return [
    ...long.map(one => `http.origins: ${one.slice(0, 40)}… matches nothing: no host has so long a name`),
    ...blocked.map(
      one =>
        `http.origins: ${one} matches nothing: browsers let a page of https connect by wss only, and here is neither tls.cert nor a proxy in http.trustProxy`,
    ),
  ]
}
