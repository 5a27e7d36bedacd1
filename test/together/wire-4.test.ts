import { together } from '../helpers/together.js'

await together('wire', 4, 6)
