import { together } from '../helpers/together.js'

await together('wire', 3, 6)
