import { together } from '../helpers/together.js'

await together('contract')
