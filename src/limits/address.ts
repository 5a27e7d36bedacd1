/** Groups of addresses, lists of addresses from the config, and the client behind a proxy. */
import { BlockList, isIP, isIPv4 } from 'node:net'
import ipaddr from 'ipaddr.js'

/** The group of everything that is not an IP address. No list contains it. */
const UNKNOWN = 'unknown'

/** Prefix lengths of IPv6 that a subscriber gets (RFC 6177). */
export type Ipv6Prefix = 64 | 56 | 48

/** Removes the zone of a link-local address, and turns an IPv4-mapped IPv6 address (RFC 4291 2.5.5.2) into IPv4. */
export function plainAddress(address: string | undefined): string | undefined {
  const text = address?.replace(/%.*$/, '') ?? ''
  // Nearly all are such, and what node:net takes for one has no other form.
  if (isIPv4(text)) return text
  // node:net decides first, since ipaddr.js also accepts the old forms of IPv4, `127.1` and `0x7f000001`.
  return isIP(text) === 0 ? undefined : ipaddr.process(text).toString()
}

/** What counts as one client: an IPv4 address, or the network of an IPv6 one. */
export function addressGroup(address: string | undefined, prefix: Ipv6Prefix = 64): string {
  const plain = plainAddress(address)
  if (plain === undefined) return UNKNOWN
  if (isIPv4(plain)) return plain
  const parsed = ipaddr.parse(plain)
  if (!(parsed instanceof ipaddr.IPv6)) return plain
  const [a = 0, b = 0, c = 0, d = 0] = parsed.parts
  // The mask of the fourth group: all of a /64, the high byte of a /56, nothing of a /48.
  const groups = [a, b, c, d & (0xffff << (64 - prefix))]
  return `${groups.map(group => group.toString(16)).join(':')}::/${prefix}`
}

/** Addresses and networks as config has them: `10.0.0.1`, `10.0.0.0/8`, `fd00::/8`. */
export class AddressList {
  readonly #list = new BlockList()
  readonly #isEmpty: boolean

  constructor(entries: readonly string[]) {
    this.#isEmpty = entries.length === 0
    for (const entry of entries) {
      const [address = '', bits] = entry.split('/')
      const plain = plainAddress(address) ?? address
      const family = isIPv4(plain) ? 'ipv4' : 'ipv6'
      // The first 96 bits of `::ffff:10.0.0.0/104` only tell that it is IPv4.
      const mapped = isIPv4(plain) && !isIPv4(address) ? 96 : 0
      if (bits === undefined) this.#list.addAddress(plain, family)
      else this.#list.addSubnet(plain, Math.max(0, Number(bits) - mapped), family)
    }
  }

  has(address: string | undefined): boolean {
    const plain = this.#isEmpty ? undefined : plainAddress(address)
    return plain !== undefined && this.#list.check(plain, isIPv4(plain) ? 'ipv4' : 'ipv6')
  }

  /**
   * The client behind the proxies of this list: the right-most X-Forwarded-For entry that is not such a proxy. Entries
   * to the left of it can be forged.
   * @returns undefined (= unknown) if the header is missing or its entry is not an address (`unknown`, `_hidden`);
   *   never the proxy's own address, which may be exempt
   */
  client(peer: string | undefined, forwardedFor: string | undefined): string | undefined {
    if (!this.has(peer)) return peer
    const hops = (forwardedFor ?? '').split(',')
    let client: string | undefined
    do client = hopAddress(hops.pop() ?? '')
    while (hops.length > 0 && this.has(client))
    // A loopback address in a header is that of the machine that wrote it, so it does not identify a client.
    return client !== undefined && isLocal(client) ? undefined : client
  }
}

const isLocal = (address: string): boolean =>
  ['loopback', 'unspecified'].includes(ipaddr.parse(address).range())

/** One entry of X-Forwarded-For. Some proxies append `1.2.3.4:5678` or `[::1]:5678`. */
function hopAddress(hop: string): string | undefined {
  const text = hop.trim()
  const [, inBrackets] = /^\[([^\]]*)\](?::\d+)?$/.exec(text) ?? []
  const [, ipv4] = /^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(text) ?? []
  return plainAddress(inBrackets ?? ipv4 ?? text)
}
