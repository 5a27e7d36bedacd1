/**
 * The command `mumi chat` in a clone: installs and builds first, if that was not done.
 *   node scripts/client.mjs [--server URL] EMAIL [NAME]
 */
import './prepare.mjs'

process.argv.splice(2, 0, 'chat')
await import('../dist/main.js')
