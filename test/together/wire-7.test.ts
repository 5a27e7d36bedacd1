import { together } from '../helpers/together.js'

together('wire', 7, 8)
