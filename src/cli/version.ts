import { version } from '../core/version.js'

export function printVersion(): void {
  process.stdout.write(`${version()}\n`)
}
