/** One request for a file. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { UserId } from '../core/model.js'
import type { UploadLogin } from '../files/uploads.js'
import type { Pace } from './pace.js'

export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** Of the request, which has none any more when it was destroyed. */
  readonly socket: Socket
  readonly pace: Pace
}

/** Whose access token a request has. */
export interface Uploader {
  readonly userId: UserId
  readonly login: UploadLogin
  check(): void
}
