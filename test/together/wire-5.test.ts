import { together } from '../helpers/together.js'

together('wire', 5, 8)
