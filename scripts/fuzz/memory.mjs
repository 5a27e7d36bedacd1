/**
 * Loaded into the server (`node --expose-gc --import memory.mjs?to=FILE`): at SIGUSR2 it collects garbage and writes what
 * is still there to FILE. Without, what a collection would free says nothing: with much memory free Node has no reason to
 * collect.
 */
import { renameSync, writeFileSync } from 'node:fs'
import { setImmediate as turn } from 'node:timers/promises'
import { isMainThread } from 'node:worker_threads'

const file = new URL(import.meta.url).searchParams.get('to')

/** The second collection takes what the finalizers of the first let go of. */
async function measure() {
  globalThis.gc()
  await turn()
  globalThis.gc()
  writeFileSync(`${file}.new`, JSON.stringify(process.memoryUsage()))
  renameSync(`${file}.new`, file)
}

if (isMainThread) process.on('SIGUSR2', measure)
