// Runs in a worker thread of Passwords. Plain JavaScript: Node.js loads it as it is, also where the sources are run.
import bcrypt from 'bcrypt'

/** @param {{ text: string, cost: number }} task */
export const hash = ({ text, cost }) => bcrypt.hashSync(text, cost)

/** @param {{ text: string, hash: string }} task */
export const compare = task => bcrypt.compareSync(task.text, task.hash)
