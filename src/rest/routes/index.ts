/** All operations by subject, in the order of the document. */
import type { Operation } from '../operation.js'
import { ACCOUNTS } from './accounts.js'
import { FILES } from './files.js'
import { DEVICES, LOGINS, SESSIONS } from './logins.js'
import { MAIL } from './mail.js'
import { MESSAGES } from './messages.js'
import { SECOND_FACTOR } from './second-factor.js'

export const SUBJECTS: Readonly<Record<string, readonly Operation[]>> = {
  accounts: ACCOUNTS,
  logins: LOGINS,
  messages: MESSAGES,
  files: FILES,
  sessions: SESSIONS,
  devices: DEVICES,
  'second factor': SECOND_FACTOR,
  mail: MAIL,
}

export const OPERATIONS: readonly Operation[] = Object.values(SUBJECTS).flat()
