/** Finds the config keys of an address on which the server cannot listen. */
import type { Config } from './schema.js'

/** Node's errors of `listen` and of the DNS look-up of its host. */
type ListenError = NodeJS.ErrnoException & { address?: string; hostname?: string; port?: number }

/** @returns a line that names the key to change; undefined for any other error */
export function listenFault(error: Error, config: Config): string | undefined {
  const { syscall, code, address, hostname, port = 0 }: ListenError = error
  if (syscall === 'getaddrinfo') {
    const keys = keysOf(config, 'host', one => one.host === hostname)
    return `${keys}: no such host as ${hostname} (${code})`
  }
  if (syscall !== 'listen') return undefined
  const keysWith = (part: 'host' | 'port') => keysOf(config, part, one => one.port === port)
  const place = `${address}:${port}`
  switch (code) {
    case 'EADDRINUSE':
      return `${keysWith('port')}: ${place} is in use already; choose another port`
    case 'EACCES':
      return `${keysWith('port')}: no right to listen on ${place}`
    case 'EADDRNOTAVAIL':
      return `${keysWith('host')}: ${address} is no address of this machine`
    default:
      return `${keysWith('host')}: ${error.message}`
  }
}

/** The keys of the listeners that the error may be about. The error does not say which, so there may be several. */
function keysOf(
  { http, mqtt, mqtts, ops, admin, tls }: Config,
  part: 'host' | 'port',
  isMeant: (one: { readonly host: string; readonly port: number }) => boolean,
): string {
  const secure = { ...mqtts, enabled: mqtt.enabled && mqtts.enabled && tls.cert !== '' }
  const listeners = Object.entries({
    http,
    mqtt,
    mqtts: secure,
    ops,
    admin: { ...admin, enabled: admin.http },
  })
  return listeners
    .filter(([, one]) => one.enabled && isMeant(one))
    .map(([section]) => `${section}.${part}`)
    .join(', ')
}
