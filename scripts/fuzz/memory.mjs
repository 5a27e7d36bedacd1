/**
 * Loaded into the server (`node --expose-gc --import`): collects garbage at SIGUSR2. What is still there then is held.
 * Without, what a collection would free says nothing: with much memory free Node has no reason to collect.
 */
import { isMainThread } from 'node:worker_threads'

if (isMainThread) process.on('SIGUSR2', () => globalThis.gc())
