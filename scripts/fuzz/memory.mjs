/**
 * Loaded into the server (`node --expose-gc --import memory.mjs?to=FILE`): at SIGUSR2 it collects garbage and writes the
 * memory that remains to FILE. Without a forced collection the value says nothing, because Node collects late if much
 * memory is free.
 */
import { renameSync, writeFileSync } from 'node:fs'
import { setImmediate as turn } from 'node:timers/promises'
import { isMainThread } from 'node:worker_threads'

const file = new URL(import.meta.url).searchParams.get('to')

/** A second collection frees what finalizers of the first released. */
async function measure() {
  globalThis.gc()
  await turn()
  globalThis.gc()
  writeFileSync(`${file}.new`, JSON.stringify(process.memoryUsage()))
  renameSync(`${file}.new`, file)
}

if (isMainThread) process.on('SIGUSR2', measure)
