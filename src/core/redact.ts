/** How much of clients' addresses stands in log and audit (`log.redact`). */
import { isIP } from 'node:net'

export type Redaction = 'none' | 'network' | 'all'

/** @returns the same object, or a copy whose `remoteAddress` is shortened or missing */
export function redacted<T extends object>(about: T, how: Redaction): T {
  const { remoteAddress }: { remoteAddress?: unknown } = about
  if (how === 'none' || typeof remoteAddress !== 'string') return about
  return { ...about, remoteAddress: how === 'network' ? networkOf(remoteAddress) : undefined }
}

/** The network of an address: /24 of IPv4, also where it is written as IPv6, /48 of IPv6. */
export function networkOf(address: string): string | undefined {
  const [bare = ''] = address.split('%', 1)
  const [, quad] = /^(?:::ffff:)?(\d+\.\d+\.\d+)\.\d+$/i.exec(bare) ?? []
  if (quad !== undefined) return `${quad}.0`
  if (isIP(bare) !== 6) return undefined
  const [before = '', after] = bare.split('::')
  const groups = before.split(':').filter(group => group !== '')
  // What "::" stands for are zeros, and what comes behind it is behind the first three groups unless it stands for few.
  const missing = after === undefined ? 0 : 8 - groups.length - after.split(':').filter(Boolean).length
  const first = [
    ...groups,
    ...Array<string>(missing).fill('0'),
    ...(after ?? '').split(':').filter(Boolean),
  ].slice(0, 3)
  return `${first.join(':')}::`
}
