/** Where operators ask: the admin socket, and a port for tokens where the config opens one. */
import { askAdmin, type Question } from '../admin/ask.js'
import { AdminServer } from '../admin/server.js'
import { type AdminHttpParts, openAdminHttp } from './admin-http.js'
import { socketPath } from './admin-socket.js'
import type { Ports } from './ports.js'

export interface AdminDoors {
  /** Of the port; undefined if there is none. */
  readonly address: Ports['admin']
  close(): Promise<void>
}

export interface AdminDoorsParts extends Omit<AdminHttpParts, 'ask'> {
  readonly metrics: Parameters<typeof askAdmin>[1]
}

/** Chat does not need the socket: where it cannot be made, the gateway serves without it. @throws the system's error of the port */
export async function openAdminDoors({ metrics, ...parts }: AdminDoorsParts): Promise<AdminDoors> {
  const { config, services, onFault } = parts
  const ask = (question: Question) => askAdmin(services, metrics, question)
  const path = socketPath(config.data.dir)
  const socket = config.admin.enabled ? new AdminServer({ path, ask, onFault }) : undefined
  await socket?.listen().catch(err => {
    services.log.error({ event: 'admin.unavailable', path, err }, 'no admin socket')
  })
  const http = config.admin.http ? await openAdminHttp({ ...parts, ask }).catch(closing(socket)) : undefined
  return {
    address: http?.address,
    close: async () => {
      http?.server.close()
      await socket?.close()
    },
  }
}

/** What was opened before is closed, since nobody else knows of it. @throws always */
const closing = (socket: AdminServer | undefined) => async (thrown: unknown) => {
  await socket?.close()
  throw thrown
}
