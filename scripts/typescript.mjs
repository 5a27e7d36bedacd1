/**
 * `node --import ./scripts/typescript.mjs x.ts` runs TypeScript. The tests need it: each of a hundred test files loads the
 * gateway's sources in its own process. That takes 10 s of CPU with ts-node, 2 s with tsx, 1 s with this.
 */
import { register } from 'node:module'

register('./typescript-hooks.mjs', import.meta.url)
