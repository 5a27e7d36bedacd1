/**
 * `offload`: would worker threads pay (docs/performance.md)? Measures the main thread's cost of one request: when it reads
 * the frame itself, and when it hands the frame to a worker and takes the request back.
 */
import { Worker } from 'node:worker_threads'
import type { Values } from './chat.js'
import { BLANK } from './flow.js'
import { mainThreadSeconds } from './machine.js'
import { userId } from './program.js'
import type { Context, Scenario, Step } from './scenario.js'

const RULES = { maxDepth: 8, maxValues: 256, unknownFields: 'refuse' } as const
/** Frames that arrive in one turn of the event loop under load. */
const GROUP = 64

const WORKER = `
  const { parentPort, workerData } = require('node:worker_threads')
  import(workerData.module).then(({ parseRequest }) => {
    parentPort.on('message', frames => parentPort.postMessage(frames.map(one => parseRequest(one, workerData.rules))))
    parentPort.postMessage([])
  })`

async function run({ program, options }: Context): Promise<Step[]> {
  const module = program.url('protocol/requests.js')
  const { parseRequest }: typeof import('../../src/protocol/requests.js') = await import(module)
  const frame = JSON.stringify({ type: 'message', data: { recipient: userId(1), content: BLANK } })
  const frames = Array.from({ length: GROUP }, () => frame)
  const worker = new Worker(WORKER, { eval: true, workerData: { module, rules: RULES } })
  const answer = () => new Promise<void>(resolve => worker.once('message', () => resolve()))
  await answer()
  const values = {
    'on the main thread, µs a request': await cost(options.seconds, async () => {
      for (const one of frames) parseRequest(one, RULES)
    }),
    [`by a worker, ${GROUP} frames a post, µs a request on the main thread`]: await cost(
      options.seconds,
      async () => {
        const answered = answer()
        worker.postMessage(frames)
        await answered
      },
    ),
  }
  await worker.terminate()
  return [{ step: '', values: values satisfies Values }]
}

/** CPU time of this thread for one frame, µs; `work` processes a group of frames. */
async function cost(seconds: number, work: () => Promise<void>): Promise<number> {
  for (let n = 0; n < 100; n++) await work()
  const before = mainThreadSeconds(process.pid)
  const end = performance.now() + seconds * 1000
  let count = 0
  for (; performance.now() < end; count += GROUP) await work()
  return ((mainThreadSeconds(process.pid) - before) / count) * 1e6
}

export const offload: Scenario = { name: 'offload', wires: ['json'], against: [], run }
