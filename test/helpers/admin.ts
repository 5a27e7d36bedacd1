/** Requests to the admin socket of a gateway. */
import { request } from 'node:http'
import { join } from 'node:path'
import { json } from 'node:stream/consumers'

export interface AdminAnswer {
  readonly status: number | undefined
  readonly code: number
  readonly msg: string
  // biome-ignore lint/suspicious/noExplicitAny: each request has data of its own
  readonly data: any
}

/** @param dir `data.dir` @param data an object, or the body as it is */
export async function askSocket(
  dir: string,
  path: string,
  data: object | string = {},
  method = 'POST',
): Promise<AdminAnswer> {
  const body = typeof data === 'string' ? data : JSON.stringify(data)
  return new Promise((resolve, reject) => {
    request({ socketPath: join(dir, 'admin.sock'), path, method }, response => {
      json(response).then(
        reply => resolve({ status: response.statusCode, ...(reply as Omit<AdminAnswer, 'status'>) }),
        reject,
      )
    })
      .on('error', reject)
      .end(body)
  })
}

/** @param name see protocol/admin.ts */
export const askAdmin = ({ dir }: { dir: string }, name: string, data?: object): Promise<AdminAnswer> =>
  askSocket(dir, `/v1/${name}`, data)
