import { together } from '../helpers/together.js'

together('wire', 1, 8)
