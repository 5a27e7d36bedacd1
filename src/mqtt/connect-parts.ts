import type { Connections } from './connections.js'
import type { BrokerParts } from './parts.js'
import type { SessionExpiry } from './session-expiry.js'
import type { Wills } from './wills.js'

/** What a connection is let in with; see makeParts. */
export interface ConnectParts extends BrokerParts {
  readonly connections: Connections
  readonly wills: Wills
  readonly expiry: SessionExpiry
}
