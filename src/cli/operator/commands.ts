/** All commands for operators but `completion`, which knows them. */
import type { Command } from 'commander'
import { importCommands } from './import.js'
import { inboxCommands } from './inbox.js'
import { inviteCommands } from './invites.js'
import { operationCommands } from './operation.js'
import { sessionCommands } from './sessions.js'
import type { Terminal } from './terminal.js'
import { tokenCommands } from './tokens.js'
import { userCommands } from './users.js'

export const operatorCommands = (terminal: Terminal): Command[] =>
  [
    userCommands,
    sessionCommands,
    inboxCommands,
    operationCommands,
    importCommands,
    inviteCommands,
    tokenCommands,
  ].flatMap(make => make(terminal))
