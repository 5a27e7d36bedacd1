/** The one table of codes: every number of a reply, an MQTT reply topic or a close frame. */
import { OLD_CODES } from './codes/old.js'
import { OWN_CODES } from './codes/own.js'

/** The language of the texts. */
export type Locale = 'zh-TW' | 'en'

export const CODES = Object.freeze({ ...OLD_CODES, ...OWN_CODES })

export type CodeName = keyof typeof CODES

/** Whether old clients know the code. A refusal with such a code carries `data: null`, as in the old server. */
export const isFixed = (name: CodeName): boolean => name in OLD_CODES
