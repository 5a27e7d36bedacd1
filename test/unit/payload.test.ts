import t from 'tap'
import { parseContent } from '../../src/mqtt/payload.js'
import { ofKind } from '../helpers/kind.js'

const REFUSED = ofKind('BAD_FIELD', { info: { field: 'payload', reason: String } })

t.test('with format text the payload is the content', async t => {
  for (const text of ['hello', '', ' \n ', '{"content":"x"}', '你好 👋', '\u0000', '\uFEFFbom']) {
    t.same(parseContent(Buffer.from(text), 'text'), { content: text }, JSON.stringify(text))
  }
  t.same(parseContent('a string', 'text'), { content: 'a string' })
})

t.test('bytes that are not UTF-8 are refused', async t => {
  for (const bytes of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xc0, 0x80], [0xf5, 0x80, 0x80, 0x80]]) {
    t.throws(() => parseContent(Buffer.from(bytes), 'text'), REFUSED, bytes.join())
    const json = Buffer.concat([Buffer.from('{"content":"'), Buffer.from(bytes), Buffer.from('"}')])
    t.throws(() => parseContent(json, 'json'), REFUSED, bytes.join())
  }
})

t.test('with format json the payload has content and optionally id', async t => {
  t.same(parseContent(Buffer.from('{"content":"a"}'), 'json'), { content: 'a' })
  t.same(parseContent(Buffer.from(' {"id":"x", "content":"\\ud83d\\ude00"}\n'), 'json'), {
    content: '😀',
    id: 'x',
  })
  t.equal(parseContent(Buffer.from(`{"content":"a","id":"${'i'.repeat(64)}"}`), 'json').id?.length, 64)
})

const BAD_JSON = [
  '',
  'hello',
  '"hello"',
  'null',
  '[]',
  '{}',
  '{"content":1}',
  '{"content":null}',
  '{"id":"x"}',
  '{"content":"a","id":""}',
  '{"content":"a","id":7}',
  `{"content":"a","id":"${'i'.repeat(65)}"}`,
  '{"content":"a","to":"x"}',
  '{"content":"a","__proto__":{}}',
  '{"content":"\\ud800"}',
  '{"content":"a","id":"\\ud800"}',
  '{"content":"a"} {"content":"b"}',
]

for (const text of BAD_JSON) {
  t.test(`JSON that is refused: ${text.slice(0, 40) || 'nothing'}`, async t => {
    t.throws(() => parseContent(Buffer.from(text), 'json'), REFUSED)
  })
}

t.test('a refusal never contains the payload', async t => {
  t.plan(1)
  try {
    parseContent(Buffer.from('{"secret":"hunter2"}'), 'json')
  } catch (error) {
    const { message, info } = error as { message: string; info: unknown }
    t.notMatch(JSON.stringify([message, info]), /hunter2|secret/)
  }
})
