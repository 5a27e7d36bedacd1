import { together } from '../helpers/together.js'

together('wire', 3, 8)
