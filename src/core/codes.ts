/** The one table of codes: each number that a reply, an MQTT reply topic or a close frame may carry. */
import { OLD_CODES } from './codes/old.js'
import { OWN_CODES } from './codes/own.js'

/** A language of the texts. */
export type Locale = 'zh-TW' | 'en'

export const CODES = Object.freeze({ ...OLD_CODES, ...OWN_CODES })

export type CodeName = keyof typeof CODES

/** Whether old clients know the code. A refusal with it carries `data: null`, as the old server's did. */
export const isFixed = (name: CodeName): boolean => name in OLD_CODES
