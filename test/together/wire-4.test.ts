import { together } from '../helpers/together.js'

together('wire', 4, 8)
