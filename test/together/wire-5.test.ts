import { together } from '../helpers/together.js'

await together('wire', 5, 6)
