/** Free ports, for servers that cannot listen on port 0 or must keep their port over a restart. */
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'

/** @returns ports of 127.0.0.1 that were free when asked; another process may take one meanwhile */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map(server => once(server, 'listening')))
  const ports = servers.map(server => (server.address() as AddressInfo).port)
  await Promise.all(servers.map(server => once(server.close(), 'close')))
  return ports
}
