import { together } from '../helpers/together.js'

await together('wire', 1, 6)
