import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { OLD_CODES } from '../../src/core/codes/old.js'
import { OWN_CODES } from '../../src/core/codes/own.js'
import { table } from '../../src/core/codes/row.js'
import {
  CODES,
  type CodeName,
  GatewayError,
  isFixed,
  nameStoreFault,
  toGatewayError,
} from '../../src/core/errors.js'

/** Number, name and both texts, on which existing clients depend. */
const FIXED: [number, CodeName, string, string][] = [
  [200, 'SUCCESS', '操作成功', 'success'],
  [201, 'MESSAGE_SUCCESS', '訊息發送成功', 'message sent'],
  [202, 'LOGIN_SUCCESS', '登入成功', 'login success'],
  [203, 'REGISTER_SUCCESS', '註冊成功', 'register success'],
  [204, 'BROADCAST_SUCCESS', '廣播成功', 'broadcast success'],
  [500, 'ERROR', '操作失敗', 'failed'],
  [10000, 'ERROR_AUTH', '使用者名稱或密碼錯誤', 'wrong email or password'],
  [10001, 'ERROR_AUTH_FAILED', '認證失敗請重試', 'authorize failed'],
  [10002, 'ERROR_ADD_USER_FAILED', '使用者創建失敗', 'register failed'],
  [10003, 'ERROR_EXIST_USER', '使用者已存在', 'user exists'],
  [10004, 'ERROR_EXIST_USER_FAILED', '查詢使用者失敗', 'query failed'],
  [10005, 'ERROR_MULTIPLE_LOGIN', '使用者已在其他地方登入', 'multiple login'],
  [10006, 'ERROR_MULTIPLE_LOGIN_FAILED', '使用者登入狀態獲取失敗', 'login state unknown'],
  [10007, 'ERROR_UNAUTHORIZED', '請先進行登入', 'please login first'],
  [10008, 'ERROR_USER_NOT_ONLINE', '使用者目前不在線上', 'user is not online'],
  [10009, 'ERROR_CONNECTION_CLOSED', '連線已關閉', 'connection closed'],
  [10010, 'ERROR_FIND_USER', '找不到使用者', 'user not found'],
  [10011, 'ERROR_FIND_USER_FAILED', '查詢使用者失敗', 'query failed'],
]

t.test('the fixed codes keep their number, name and texts', async t => {
  for (const [code, name, zh, en] of FIXED) t.match(CODES[name], { code, 'zh-TW': zh, en }, name)
})

t.test('every other code is from 10100 up, unique, and has both texts', async t => {
  const fixed = new Set(FIXED.map(([, name]) => name))
  const ours = Object.entries(CODES).filter(([name]) => !fixed.has(name as CodeName))
  for (const [name, row] of ours) {
    t.ok(row.code >= 10_100, name)
    t.ok(row['zh-TW'] !== '' && row.en !== '' && row.when !== '', name)
  }
  t.equal(new Set(Object.values(CODES).map(({ code }) => code)).size, Object.keys(CODES).length)
})

t.test('close codes are in the private range; its lower half tells clients to reconnect', async t => {
  for (const [name, { close, retry }] of Object.entries(CODES)) {
    if (close === undefined) continue
    t.ok(close >= 4000 && close < 5000, name)
    t.equal(close < 4500, retry, name)
  }
})

t.test('a code is retired if and only if no other source file names it', async t => {
  const root = join(import.meta.dirname, '../../src')
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
  const source = files
    .filter(file => /\.ts$/.test(file) && file !== 'errors.ts')
    .map(file => readFileSync(join(root, file), 'utf8'))
    .join('\n')
  const isNamed = (name: string) => source.includes(`'${name}'`) || source.includes(`CODES.${name}.`)
  // errors.ts itself uses it for unforeseen errors.
  const rows = Object.entries(CODES).filter(([name]) => name !== 'ERROR')
  for (const [name, row] of rows) t.equal('retired' in row, !isNamed(name), name)
})

t.test('the codes of the old server are the fixed ones', async t => {
  const fixed = Object.keys(CODES).filter(name => isFixed(name as CodeName))
  t.same(
    fixed,
    FIXED.map(([, name]) => name),
  )
})

t.test('the table cannot be changed', async t => {
  t.throws(() => Object.assign(CODES, { SUCCESS: {} }))
})

t.test(
  'a GatewayError is returned unchanged; other errors become 500 or the given kind, with their cause',
  async t => {
    const ours = new GatewayError('BAD_FIELD', { field: 'email', reason: 'is missing' })
    t.equal(toGatewayError(ours, 'STORE_UNAVAILABLE'), ours)
    t.equal(ours.message, 'is missing')
    const cause = new TypeError('x')
    t.match(toGatewayError(cause), { kind: 'ERROR', info: null, cause })
    t.match(toGatewayError('text'), { kind: 'ERROR', cause: 'text' })
    t.match(toGatewayError(cause, 'STORE_UNAVAILABLE'), { kind: 'STORE_UNAVAILABLE', cause })
  },
)

t.test('a store fault gets the number of the old protocol; a refusal keeps its own', async t => {
  const fault = new GatewayError('STORE_FULL')
  t.match(nameStoreFault(fault, 'ERROR_AUTH_FAILED'), { kind: 'ERROR_AUTH_FAILED', info: null, cause: fault })
  t.match(nameStoreFault(new Error('x'), 'ERROR_AUTH_FAILED'), { kind: 'ERROR_AUTH_FAILED' })
  const refusal = new GatewayError('ERROR_AUTH')
  t.equal(nameStoreFault(refusal, 'ERROR_AUTH_FAILED'), refusal)
})

t.test('the old server’s codes and ours are two tables that share no name and no number', async t => {
  t.same(new Set(Object.keys(OLD_CODES)), new Set(FIXED.map(([, name]) => name)))
  t.same(Object.keys(CODES).length, Object.keys(OLD_CODES).length + Object.keys(OWN_CODES).length)
  t.same(
    Object.values(OWN_CODES).filter(({ code }) => code < 10_100),
    [],
  )
  t.ok(Object.isFrozen(table({ ONE: CODES.SUCCESS })))
})
