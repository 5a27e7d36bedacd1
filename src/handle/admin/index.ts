/** The acts of operators: rows of the table of requests (handle/table.ts). */
import { IMPORT_ACTS } from './import.js'
import { INBOX_ACTS } from './inbox.js'
import { INVITE_ACTS } from './invites.js'
import { OPERATION_ACTS } from './operation.js'
import { SESSION_ACTS } from './sessions.js'
import { TOKEN_ACTS } from './tokens.js'
import { USER_ACTS } from './users.js'

export const ADMIN_ACTS = {
  ...USER_ACTS,
  ...SESSION_ACTS,
  ...INBOX_ACTS,
  ...OPERATION_ACTS,
  ...IMPORT_ACTS,
  ...INVITE_ACTS,
  ...TOKEN_ACTS,
} as const
