/** Peer: Socket.IO in memory, with its defaults: one `emit` and one acknowledgement per message. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Server, type Socket } from 'socket.io'

const online = new Map<string, Socket>()
const http = createServer()

new Server(http).on('connection', socket => {
  let sender = ''
  socket.on('login', ({ email }, done) => {
    sender = email.split('@')[0]
    online.set(sender, socket)
    done({ code: 202, msg: '登入成功', data: null })
  })
  socket.on('message', ({ recipient, content }, done) => {
    const created_at = `${new Date().toISOString().slice(0, 19)}Z`
    online.get(recipient)?.emit('message', { sender, recipient, content, created_at })
    done({ code: 201, msg: '訊息發送成功', data: null })
  })
})

http.listen(0, '127.0.0.1', () => process.stdout.write(`ready ${(http.address() as AddressInfo).port}\n`))
process.on('SIGTERM', () => process.exit(0))
