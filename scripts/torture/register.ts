/** Registers new accounts. */
import { on, once } from 'node:events'
import { WebSocket } from 'ws'

/** Opens a connection without login. */
export async function open(port: number): Promise<WebSocket> {
  const ws = new WebSocket(`ws://127.0.0.1:${port}/`)
  ws.on('error', () => undefined)
  await once(ws, 'open')
  return ws
}

/** Ends the connection. @returns the new account's user id */
export async function registerOn(ws: WebSocket, email: string, password: string): Promise<string> {
  const request = {
    type: 'action',
    action: 'register',
    id: 'register',
    data: { email, password, firstName: 'Tor', lastName: 'Ture' },
  }
  ws.send(JSON.stringify(request), () => undefined)
  for await (const [data] of on(ws, 'message', { close: ['close'] })) {
    const frame = JSON.parse(String(data))
    if (frame.code === undefined) continue
    ws.close()
    if (frame.code !== 203) throw new Error(`register: ${frame.code}`)
    return frame.data.id
  }
  throw new Error('register: no answer')
}

export const register = async (port: number, email: string, password: string) =>
  registerOn(await open(port), email, password)
