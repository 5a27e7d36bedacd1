import { together } from '../helpers/together.js'

together('wire', 2, 8)
