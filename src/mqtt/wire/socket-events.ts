/** The events of a socket. All sockets share their listeners: an idle connection has no function of its own. */
import type { Duplex } from 'node:stream'

const INPUT = Symbol('input')
const END = Symbol('end')

export interface InputEvents {
  data(chunk: Buffer): void
  sourceEnded(): void
}

export interface EndEvents {
  socketFailed(error: Error): void
  socketClosed(): void
}

type Heard = Duplex & { [INPUT]?: InputEvents; [END]?: EndEvents }

export function hearInput(socket: Duplex, input: InputEvents): void {
  const heard: Heard = socket
  heard[INPUT] = input
  heard.on('data', onData).on('end', onEnd)
}

export function hearInputNoMore(socket: Duplex): void {
  socket.off('data', onData).off('end', onEnd)
}

export function hearEnd(socket: Duplex, end: EndEvents): void {
  const heard: Heard = socket
  heard[END] = end
  heard.on('error', onError).on('close', onClose)
}

function onData(this: Heard, chunk: Buffer): void {
  this[INPUT]?.data(chunk)
}

function onEnd(this: Heard): void {
  this[INPUT]?.sourceEnded()
}

function onError(this: Heard, error: Error): void {
  this[END]?.socketFailed(error)
}

function onClose(this: Heard): void {
  this[END]?.socketClosed()
}
