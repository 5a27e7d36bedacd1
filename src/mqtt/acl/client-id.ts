import { USER_ID, type UserId } from '../../core/model.js'

const OWNER = new RegExp(`^(${USER_ID}):`)

/**
 * The client id inside the broker and in its stored state: `289559048:phone`, `anonymous:phone`. It begins with the
 * account, so two accounts may use the same client id, and no client can take over the session of another account.
 */
export const scopedId = (userId: UserId | undefined, clientId: string): string =>
  `${userId ?? 'anonymous'}:${clientId}`

/** The client id as its client sent it. */
export const clientIdOf = (scoped: string): string => scoped.slice(scoped.indexOf(':') + 1)

/** Account of a scoped client id; undefined for an anonymous client. */
export const userIdOf = (scoped: string): UserId | undefined => OWNER.exec(scoped)?.[1]

/** The beginning that all scoped client ids of one account share, and those of no other account: `289559048:`. */
export const ownerOf = (scoped: string): string => scoped.slice(0, scoped.indexOf(':') + 1)
