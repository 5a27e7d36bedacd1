import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import t, { type Test } from 'tap'
import { plainNode } from '../helpers/plain-node.js'

const LOG = new URL('../../dist/core/log.js', import.meta.url)

/** Far more than a pipe holds. */
const LINES = 20_000

/** A process that writes LINES lines with the logger, then runs `end`. */
function writer(t: Test, pretty: string, end: string) {
  const code = `
    import { createLogger } from '${LOG}'
    const log = createLogger({ level: 'info', pretty: '${pretty}' })
    for (let i = 0; i < ${LINES}; i++) log.info({ event: 'test.line', i }, 'a line')
    ${end}`
  const child = spawn(...plainNode(['--input-type=module', '--eval', code]))
  t.teardown(() => child.kill('SIGKILL'))
  return child
}

t.test('flush waits until every line is written', async t => {
  for (const pretty of ['never', 'always']) {
    const child = writer(t, pretty, 'log.flush(() => process.exit())')
    let lines = 0
    createInterface(child.stdout).on('line', () => lines++)
    t.match(await once(child, 'close'), [0])
    t.equal(lines, LINES, pretty)
  }
})

t.test('a reader that does not read delays neither the process nor its exit', async t => {
  const child = writer(t, 'never', 'process.exit(7)')
  child.stdout.pause()
  t.match(await once(child, 'exit'), [7])
})

t.test('a closed stdout does not end the process', async t => {
  const child = writer(
    t,
    'never',
    `process.stdin.resume().once('end', () => { log.info('more'); process.exitCode = 7 })`,
  )
  child.stdout.destroy()
  await once(child.stdout, 'close')
  child.stdin.end()
  t.match(await once(child, 'exit'), [7])
})
