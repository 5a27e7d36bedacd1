/** All pages with forms, by the last part of their paths. */
import type { Action } from './action.js'
import { LETTER_ACTIONS } from './letters.js'
import { PASSKEY_ACTIONS } from './passkeys.js'
import { SECURITY_ACTIONS } from './security.js'

export type { Action, Values } from './action.js'

export const ACTIONS: Readonly<Record<string, Action>> = {
  ...LETTER_ACTIONS,
  ...SECURITY_ACTIONS,
  ...PASSKEY_ACTIONS,
}
