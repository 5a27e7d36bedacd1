/** Files: announced, listed, linked to, removed. Their bytes go by the links that this gives (files-http/). */
import { GIVEN, TAKEN } from '../../protocol/rest.js'
import type { Operation } from '../operation.js'

const announce: Operation = {
  method: 'POST',
  path: '/files',
  id: 'announceFile',
  summary: 'Announce a file, for a `PUT` of its bytes to `url` with the `headers` of the answer',
  request: 'uploadSlot',
  login: 'needed',
  body: TAKEN.uploadSlot,
  status: 201,
  answer: GIVEN.Slot,
  refusals: ['FORBIDDEN', 'FILES_FULL', 'FILE_REFUSED'],
  isSecret: true,
  run: async ({ ask, body }) => ({ body: (await ask('uploadSlot', body)).data as object }),
}

const list: Operation = {
  method: 'GET',
  path: '/files',
  id: 'listFiles',
  summary: 'Own files, and how much room they take',
  request: 'files',
  login: 'needed',
  status: 200,
  answer: GIVEN.Files,
  run: async ({ ask }) => ({ body: (await ask('files', {})).data as object }),
}

const link: Operation = {
  method: 'GET',
  path: '/files/{id}',
  id: 'linkFile',
  summary: 'A new link to an own file, or to one that came with a message',
  request: 'fileLink',
  login: 'needed',
  params: TAKEN.file,
  status: 200,
  answer: GIVEN.FileLink,
  refusals: ['NO_FILE'],
  isSecret: true,
  run: async ({ ask, params }) => ({ body: (await ask('fileLink', { file: params.id })).data as object }),
}

const remove: Operation = {
  method: 'DELETE',
  path: '/files/{id}',
  id: 'removeFile',
  summary: 'Remove an own file. Links to it, also those in messages, are good no more',
  request: 'removeFile',
  login: 'needed',
  params: TAKEN.file,
  status: 204,
  refusals: ['NO_FILE', 'BAD_UPLOAD'],
  run: async ({ ask, params }) => {
    await ask('removeFile', { file: params.id })
    return {}
  },
}

export const FILES = [announce, list, link, remove]
