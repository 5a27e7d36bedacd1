import { together } from '../helpers/together.js'

await together('wire', 2, 6)
