#!/usr/bin/env -S node --max-semi-space-size=32 --initial-old-space-size=64
/**
 * The command `mumi`, which is there before the program is built: npx remembers for good that a package has no command, and
 * after the build would still not find it.
 */
import { existsSync } from 'node:fs'

const main = new URL('../dist/main.js', import.meta.url)
if (!existsSync(main)) {
  console.error(
    'mumi: not built yet: npm start does that and serves, node scripts/prepare.mjs does that alone',
  )
  process.exit(1)
}
await import(main.href)
