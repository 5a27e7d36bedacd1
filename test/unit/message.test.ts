import t from 'tap'
import {
  contentOf,
  createdAt,
  encodeExtendedFrame,
  encodeFrame,
  encodeMessage,
  encodeMqttMessage,
  headerOf,
  historyEntry,
  type Links,
  saysTheSame,
  writtenIn,
} from '../../src/core/message.js'
import { kindOf, MESSAGE_KINDS, type MessageKind } from '../../src/core/message-kinds.js'
import {
  CONVERSATION_KEY_BYTES,
  type InboxRow,
  pairConversation,
  writeConversationKey,
} from '../../src/core/model.js'
import { formatTime } from '../../src/core/time.js'
import { writeText } from '../../src/core/write-text.js'

const AT = Date.UTC(2019, 6, 15, 9, 28, 10, 999)
const ID = '0190b5a0-0000-7000-8000-000000000000'
const ANN = '100000001'
const BOB = '100000002'

const LINKS: Links = {
  urlsFor: ({ id, type }) => ({
    url: `http://x/files/${id}`,
    ...(type.startsWith('image/') && { thumbnail: `http://x/files/${id}/thumbnail` }),
  }),
}

const rowOf = (text: string): InboxRow => ({ seq: 7, id: ID, ...headerOf(text), text })

t.test('time is UTC in whole seconds, whatever was formatted before', async t => {
  t.equal(formatTime(AT), '2019-07-15T09:28:10Z')
  t.equal(formatTime(AT + 1), '2019-07-15T09:28:11Z')
  t.equal(formatTime(AT - 999), '2019-07-15T09:28:10Z')
  t.equal(formatTime(0), '1970-01-01T00:00:00Z')
  t.equal(formatTime(Date.UTC(2024, 1, 29, 23, 59, 59, 999)), '2024-02-29T23:59:59Z')
})

t.test('a message has exactly four members, a broadcast three', async t => {
  t.equal(
    encodeMessage('271693512', '289559048', 'hello', AT),
    '{"sender":"271693512","recipient":"289559048","content":"hello","created_at":"2019-07-15T09:28:10Z"}',
  )
  t.equal(
    encodeMessage('271693512', undefined, 'hello', AT),
    '{"sender":"271693512","content":"hello","created_at":"2019-07-15T09:28:10Z"}',
  )
})

t.test('id and seq follow the fixed members for JSON, and precede them for MQTT', async t => {
  const row = rowOf(encodeMessage('1', '2', 'x', AT))
  t.same(Object.keys(JSON.parse(encodeExtendedFrame(row, LINKS))), [
    'sender',
    'recipient',
    'content',
    'created_at',
    'id',
    'seq',
  ])
  t.same(Object.keys(JSON.parse(encodeMqttMessage(row, LINKS))), [
    'id',
    'seq',
    'sender',
    'recipient',
    'content',
    'created_at',
  ])
  t.match(JSON.parse(encodeExtendedFrame(row, LINKS)), { id: ID, seq: 7 })
})

t.test('any content survives JSON encoding', async t => {
  const contents = [
    '"',
    '\\',
    '\n\r\t\b\f',
    '\u0001\u001f\u007f',
    '\u2028\u2029',
    '</script>',
    '🦊',
    '{"a":1}',
    '","sender":"evil',
  ]
  for (const content of contents) {
    const message = JSON.parse(encodeMessage('1', '2', content, AT))
    t.strictSame(message, { sender: '1', recipient: '2', content, created_at: '2019-07-15T09:28:10Z' })
  }
})

t.test('the frame for a client without extensions is the stored text', async t => {
  const text = encodeMessage(ANN, BOB, 'x', AT)
  t.equal(encodeFrame(rowOf(text), LINKS), text)
})

t.test('a history entry has a seq only for rows of the reader’s own inbox', async t => {
  const row = rowOf(encodeMessage(ANN, BOB, 'x', AT))
  t.match(historyEntry(row, true, LINKS), { sender: ANN, content: 'x', id: ID, seq: 7 })
  t.notOk('seq' in historyEntry(row, false, LINKS))
})

t.test('two texts say the same if only their times differ', async t => {
  const text = { text: encodeMessage(ANN, BOB, 'x', AT) }
  t.ok(saysTheSame(text, { text: encodeMessage(ANN, BOB, 'x', AT + 5000) }))
  t.notOk(saysTheSame(text, { text: encodeMessage(ANN, BOB, 'y', AT) }))
  t.notOk(saysTheSame(text, { text: encodeMessage(BOB, ANN, 'x', AT) }))
  t.notOk(saysTheSame(text, { text: encodeMessage(ANN, undefined, 'x', AT) }))
})

t.test('the header of an old row is derived from its text', async t => {
  t.same(headerOf(encodeMessage(ANN, BOB, '{"sender":"evil"}', AT)), {
    kind: 'message',
    sender: ANN,
    conversation: pairConversation(BOB, ANN),
    expiresAt: undefined,
  })
  t.same(headerOf(encodeMessage(ANN, undefined, 'x', AT)), {
    kind: 'broadcast',
    sender: ANN,
    conversation: undefined,
    expiresAt: undefined,
  })
})

t.test('each kind has its letter, and an unknown letter has no kind', async t => {
  for (const kind of Object.keys(MESSAGE_KINDS) as MessageKind[]) {
    const { letter } = MESSAGE_KINDS[kind]
    t.match(letter, /^[a-z]$/)
    t.equal(kindOf(letter), kind)
  }
  t.match(
    MESSAGE_KINDS,
    { message: { letter: 'm' }, broadcast: { letter: 'b' }, files: { letter: 'f' } },
    'as stored',
  )
  for (const letter of ['', '0', '9', '{', 'N']) t.equal(kindOf(letter), undefined, 'as in data format 1')
})

t.test(
  'a conversation of two users is the same in both directions; its key is the lower id, then the higher',
  async t => {
    t.equal(pairConversation(ANN, BOB), pairConversation(BOB, ANN))
    t.not(pairConversation(ANN, BOB), pairConversation(ANN, ANN))
    const key = Buffer.alloc(CONVERSATION_KEY_BYTES)
    writeConversationKey(pairConversation(BOB, ANN), key, 0)
    t.same([key.readUInt32BE(0), key.readUInt32BE(4)], [100000001, 100000002])
  },
)

t.test('writeText writes UTF-8, also of a text that is ASCII', async t => {
  for (const text of ['', 'ascii', 'café', '聊天', '😀 \ud800']) {
    const bytes = Buffer.byteLength(text)
    const buffer = Buffer.alloc(bytes + 2)
    t.equal(writeText(buffer, text, bytes, 1), bytes)
    t.same(buffer.subarray(1, -1), Buffer.from(text))
  }
})

t.test('content and time of a stored message', async t => {
  const row = rowOf(encodeMessage(ANN, BOB, 'say "é"', AT))
  t.equal(contentOf(row, LINKS), 'say "é"')
  t.equal(createdAt(row), JSON.parse(row.text).created_at)
})

const FILES = [
  { id: 'f1', name: 'a "b".png', size: 640, type: 'image/png' },
  { id: 'f2', name: '報告.pdf', size: 3_400_000, type: 'application/pdf' },
]
const LINES = '[a "b".png, 640 B] http://x/files/f1\n[報告.pdf, 3.4 MB] http://x/files/f2'
const filesRow = (content: string): InboxRow => {
  const text = encodeMessage(ANN, BOB, content, AT, FILES)
  return { ...rowOf(text), kind: 'files' }
}

t.test(
  'a message with files: an old client gets four members, and the links as lines of content',
  async t => {
    const frame = encodeFrame(filesRow('look'), LINKS)
    t.equal(
      frame,
      `{"sender":"${ANN}","recipient":"${BOB}","content":${JSON.stringify(`look\n${LINES}`)},"created_at":"2019-07-15T09:28:10Z"}`,
    )
    t.equal(JSON.parse(encodeFrame(filesRow(''), LINKS)).content, LINES, 'never empty')
    t.equal(contentOf(filesRow('look'), LINKS), `look\n${LINES}`)
    t.equal(writtenIn(filesRow('look')), 'look')
  },
)

t.test('a message with files: whoever gets more than four members gets text and files as well', async t => {
  const row = filesRow('look')
  const more = {
    text: 'look',
    files: FILES.map(file => ({ ...file, ...LINKS.urlsFor(file) })),
  }
  const frame = JSON.parse(encodeExtendedFrame(row, LINKS))
  t.match(frame, { ...more, content: `look\n${LINES}`, id: ID, seq: 7 })
  t.same(Object.keys(frame), ['sender', 'recipient', 'content', 'created_at', 'id', 'seq', 'text', 'files'])
  const payload = JSON.parse(encodeMqttMessage(row, LINKS))
  t.match(payload, { ...more, id: ID, seq: 7 })
  t.same(Object.keys(payload).slice(0, 2), ['id', 'seq'])
  t.match(historyEntry(row, true, LINKS), { ...more, seq: 7 })
})

t.test('two messages that differ in a file alone do not say the same', async t => {
  const text = encodeMessage(ANN, BOB, '', AT, FILES)
  t.ok(saysTheSame({ text }, { text: encodeMessage(ANN, BOB, '', AT + 5000, FILES) }))
  t.notOk(saysTheSame({ text }, { text: encodeMessage(ANN, BOB, '', AT, FILES.slice(1)) }))
  const ids = FILES.map(({ id }) => ({ id }))
  t.ok(saysTheSame({ text }, { text: encodeMessage(ANN, BOB, '', AT, ids) }))
  t.notOk(saysTheSame({ text }, { text: encodeMessage(ANN, BOB, 'x', AT, ids) }))
  t.notOk(saysTheSame({ text }, { text: encodeMessage(BOB, ANN, '', AT, ids) }))
  t.notOk(saysTheSame({ text }, { text: encodeMessage(ANN, BOB, ',"files":[', AT) }))
})
