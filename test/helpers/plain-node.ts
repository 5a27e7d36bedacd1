/**
 * Node as it is. tap's runner gives each child process of a test NODE_OPTIONS with hooks of its own, also where the test
 * names the environment; they double the CPU time of a start.
 */
const ENV = '/usr/bin/env'

/** A command for `spawn`. @param nodeOptions NODE_OPTIONS of the process */
export const plainNode = (args: readonly string[], nodeOptions = ''): [file: string, args: string[]] =>
  plain([process.execPath, ...args], nodeOptions)

/** The same for a program that may start Node. */
export const plain = (command: readonly string[], nodeOptions = ''): [file: string, args: string[]] => [
  ENV,
  [`NODE_OPTIONS=${nodeOptions}`, ...command],
]
