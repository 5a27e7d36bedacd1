/**
 * `node --import ./scripts/typescript.mjs x.ts` runs TypeScript. For the tests: a hundred files, each in a process of its
 * own that loads the gateway's sources, cost 10 s of CPU each with ts-node, 2 s with tsx, 1 s with this.
 */
import { register } from 'node:module'

register('./typescript-hooks.mjs', import.meta.url)
