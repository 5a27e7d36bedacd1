import { USER_ID, type UserId } from '../../core/model.js'

const OWNER = new RegExp(`^(${USER_ID}):`)

/**
 * Inside the broker a client id carries its account: two accounts may use the same id, and nobody can take over the
 * connection or the session of another's device.
 */
export const scopedId = (userId: UserId | undefined, clientId: string): string =>
  `${userId ?? 'anonymous'}:${clientId}`

/** The client id as its client sent it. */
export const clientIdOf = (scoped: string): string => scoped.slice(scoped.indexOf(':') + 1)

/** Account of a scoped client id; undefined for an anonymous client. */
export const userIdOf = (scoped: string): UserId | undefined => OWNER.exec(scoped)?.[1]
