/** All operations, in the order of the document. */
import type { Operation } from '../operation.js'
import { ME } from './me.js'

export const OPERATIONS: readonly Operation[] = [...ME]
