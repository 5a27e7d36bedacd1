/** Requests about messages: sent, read, confirmed, and the files that they refer to. */
export * from './files.js'
export * from './inbox.js'
export { broadcastAccess, handleBroadcast, handleMessage } from './message.js'
