import { together } from '../helpers/together.js'

together('unit')
