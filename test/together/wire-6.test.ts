import { together } from '../helpers/together.js'

await together('wire', 6, 6)
