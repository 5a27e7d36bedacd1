/** Requests about files. The bytes go by HTTP (files-http/). */

import { admit } from '../core/model.js'
import { formatTime } from '../core/time.js'
import type { RequestData } from '../protocol/requests.js'
import type { Handler, LoggedIn } from './context.js'
import type { HandlerRules } from './services.js'

export const filesAccess = ({ files }: HandlerRules): 'user' | 'nobody' => (files ? 'user' : 'nobody')

/** Announces a file: where it is to be put, with which headers, and until when. */
export const handleUploadSlot: Handler<RequestData<'uploadSlot'>, LoggedIn> = async (
  { files },
  { userId, login, permissions },
  { data },
  answer,
) => {
  const { id, url, token, expiresAt } = await files.slot(userId, data, login)
  // The login may have ended before there was a row that ends with it.
  try {
    admit(permissions)
  } catch (thrown) {
    await files.remove(userId, id).catch(() => undefined)
    throw thrown
  }
  const headers = { Authorization: `Bearer ${token}` }
  answer.ok('SUCCESS', { id, method: 'PUT', url, headers, expires: formatTime(expiresAt) })
}

export const handleFileLink: Handler<RequestData<'fileLink'>, LoggedIn> = async (
  { files },
  { userId },
  { data },
  answer,
) => {
  const { expiresAt, ...link } = await files.linkFor(userId, data.file)
  answer.ok('SUCCESS', { ...link, expires: formatTime(expiresAt) })
}

/** Those that the account has uploaded, and how much room is left. */
export const handleFiles: Handler<RequestData<'files'>, LoggedIn> = async (
  { files },
  { userId },
  _request,
  answer,
) => {
  const all = await files.list(userId)
  const bytes = all.reduce((sum, { size }) => sum + size, 0)
  const shown = all.map(({ id, name, size, type, state, createdAt }) => ({
    ...{ id, name, size, type, uploaded: state === 'stored' },
    created_at: formatTime(createdAt),
  }))
  answer.ok('SUCCESS', { files: shown, bytes, quota: files.limits.quotaBytes })
}

/** Its links, and those in messages, are good no more. */
export const handleRemoveFile: Handler<RequestData<'removeFile'>, LoggedIn> = async (
  { files, audit },
  { userId, front, remoteAddress },
  { data },
  answer,
) => {
  await files.remove(userId, data.file)
  audit.record({ event: 'file.removed', userId, front, remoteAddress })
  answer.ok('SUCCESS')
}
