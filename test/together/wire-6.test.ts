import { together } from '../helpers/together.js'

together('wire', 6, 8)
