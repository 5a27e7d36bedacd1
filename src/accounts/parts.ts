/** What stands beside Accounts: names of types for those who get them from one place. */
export type { HeldAddresses } from './held-addresses.js'
export type { Invites } from './invites.js'
export type { PendingDeletions } from './pending-deletions.js'
export type { UserNames } from './user-names.js'
