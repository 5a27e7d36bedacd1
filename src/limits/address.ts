/** Which addresses belong together, which are the operator's own, and whose a proxied connection is. */
import { BlockList, isIP, isIPv4 } from 'node:net'

/** Of what is no address; all such count as one. */
const UNKNOWN = 'unknown'
const MAPPED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i

/** Without the zone of a link-local address; an IPv4 address in IPv6 form (RFC 4291 2.5.5.2) as what it is. */
export function plainAddress(address: string | undefined): string | undefined {
  const text = address?.replace(/%.*$/, '') ?? ''
  const plain = MAPPED.exec(text)?.[1] ?? text
  return isIP(plain) === 0 ? undefined : plain
}

/** What counts as one client: an IPv4 address, or an IPv6 /64, which is what one subscriber is given (RFC 6177). */
export function addressGroup(address: string | undefined): string {
  const plain = plainAddress(address)
  if (plain === undefined) return UNKNOWN
  if (isIPv4(plain)) return plain
  // The URL parser writes every form of an address in one way (RFC 5952), IPv4 ends included.
  const host = new URL(`http://[${plain}]`).hostname.slice(1, -1)
  const mapped = /^::ffff:([0-9a-f]+):([0-9a-f]+)$/.exec(host)
  if (mapped !== null) return addressGroup(dotted(mapped))
  const [head = '', tail] = host.split('::')
  const groups = head === '' ? [] : head.split(':')
  const lacking = tail === undefined ? 0 : 8 - groups.length - (tail === '' ? 0 : tail.split(':').length)
  const all = [...groups, ...Array<string>(lacking).fill('0'), ...(tail ?? '').split(':')]
  return `${all.slice(0, 4).join(':')}::/64`
}

function dotted([, high = '0', low = '0']: RegExpExecArray): string {
  const [a, b] = [Number.parseInt(high, 16), Number.parseInt(low, 16)]
  return [a >> 8, a & 255, b >> 8, b & 255].join('.')
}

/** Addresses and networks as config has them: `10.0.0.1`, `10.0.0.0/8`, `fd00::/8`. */
export class AddressList {
  readonly #list = new BlockList()
  readonly #isEmpty: boolean

  constructor(entries: readonly string[]) {
    this.#isEmpty = entries.length === 0
    for (const entry of entries) {
      const [address = '', bits] = entry.split('/')
      const family = isIPv4(address) ? 'ipv4' : 'ipv6'
      if (bits === undefined) this.#list.addAddress(address, family)
      else this.#list.addSubnet(address, Number(bits), family)
    }
  }

  has(address: string | undefined): boolean {
    const plain = this.#isEmpty ? undefined : plainAddress(address)
    return plain !== undefined && this.#list.check(plain, isIPv4(plain) ? 'ipv4' : 'ipv6')
  }

  /**
   * Whose a request is that came by way of proxies of this list: of X-Forwarded-For, to which each proxy appends whom
   * it heard, the last address that is no such proxy. Further left stands what the client made up.
   */
  client(peer: string | undefined, forwardedFor: string | undefined): string | undefined {
    const hops = (forwardedFor ?? '').split(',')
    let client = peer
    while (this.has(client)) {
      const hop = withoutPort(hops.pop()?.trim() ?? '')
      if (hop === undefined) break
      client = hop
    }
    return client
  }
}

/** Some proxies append `1.2.3.4:5678` or `[::1]:5678`. */
function withoutPort(hop: string): string | undefined {
  const [, inBrackets] = /^\[([^\]]*)\](?::\d+)?$/.exec(hop) ?? []
  const [, ipv4] = /^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(hop) ?? []
  return plainAddress(inBrackets ?? ipv4 ?? hop)
}
