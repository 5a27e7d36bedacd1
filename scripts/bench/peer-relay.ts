/** Peer: a bare relay of the same frames over `ws`, in memory, without checks, with one `send` per frame. */
import type { AddressInfo } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'

const online = new Map<string, WebSocket>()
const reply = (code: number, msg: string) => JSON.stringify({ code, msg, data: null })

const server = new WebSocketServer({ port: 0, host: '127.0.0.1' }, () => {
  process.stdout.write(`ready ${(server.address() as AddressInfo).port}\n`)
})

server.on('connection', ws => {
  let sender = ''
  ws.send(JSON.stringify({ key: '24AB50C2' }))
  ws.on('message', frame => {
    const { type, data } = JSON.parse(frame.toString())
    if (type === 'action') {
      sender = data.email.split('@')[0]
      online.set(sender, ws)
      ws.send(reply(202, '登入成功'))
      return
    }
    const { recipient, content } = data
    const created_at = `${new Date().toISOString().slice(0, 19)}Z`
    online.get(recipient)?.send(JSON.stringify({ sender, recipient, content, created_at }))
    ws.send(reply(201, '訊息發送成功'))
  })
})

process.on('SIGTERM', () => process.exit(0))
