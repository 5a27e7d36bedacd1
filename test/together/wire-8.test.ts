import { together } from '../helpers/together.js'

together('wire', 8, 8)
