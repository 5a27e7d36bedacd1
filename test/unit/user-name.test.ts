/** What a user name is (RFC 8265, 3.3, and UTS 39). */
import fc from 'fast-check'
import t from 'tap'
import { isSameUserName, maybeUserName, userNameOf } from '../../src/accounts/user-name.js'
import { ofKind } from '../helpers/kind.js'
import { check } from '../helpers/property.js'

t.test('names of all languages are names', async t => {
  const names = [
    ...['ann', 'Ann', 'a1', 'a_b', 'a.b', 'a-b', '1st', 'x'.repeat(32)],
    ...[
      '小明',
      '王小明',
      'やまだ',
      '山田_1',
      '김철수',
      'Müller',
      'josé',
      'Ćwik',
      'иван',
      'Ελένη',
      'Adé\u0323bọ̀',
      'Nguyễn',
      'ệ\u0300a',
      'й\u0301н',
      'นารี',
      'हिन्दी',
    ],
    ...['שלום', 'שלום1', 'محمد', 'محمد_1', 'محمد١٢', 'नमस्ते', '𐐷abc'],
  ]
  for (const name of names) t.match(maybeUserName(name), { shown: name.normalize('NFKC') }, name)
})

t.test('what is no name is refused, with the reason and never the name', async t => {
  const only = 'may have letters, digits, "." "_" and "-" only'
  const ends = 'must begin and end with a letter or digit'
  const cases: [string, string][] = [
    ['', 'is shorter than 2 characters'],
    ['a', 'is shorter than 2 characters'],
    ['😀', 'is shorter than 2 characters'],
    ['a'.repeat(33), 'is longer than 32 characters'],
    ['a'.repeat(65), 'is longer than 32 characters'],
    // One code point that NFKC makes 18 of.
    ['\uFDFA'.repeat(3), 'is longer than 32 characters'],
    ...['ann lee', 'ann@example.com', 'a/b', 'a+b', 'a#b', 'a?lang=en', 'a:b', '$SYS', '<script>', "a'b"].map(
      name => [name, only] as [string, string],
    ),
    // Space, ignorable, joiner, direction, old Hangul, symbol, Roman numeral that NFKC keeps, private use, tatweel.
    ...[
      'a\u00a0b',
      'a\u00adb',
      'a\u200db',
      'a\u202eb',
      '\u1100\u1100',
      'a☃',
      'a\u2180',
      'a\ue000',
      'a\u0640b',
    ].map(name => [name, only] as [string, string]),
    ...['.a', '_a', 'a.', 'a-', '..', '\u0301a'].map(name => [name, ends] as [string, string]),
    ['a\u0363\u0364\u0365\u0366\u0367', 'has too many marks on one letter'],
    // Struck out, underlined, of another script: blank on most screens.
    ...[
      'ab\u0335',
      'p\u0332aypal',
      'm\u{16fe4}umichat',
      '小\u{16fe4}明',
      'a\u20e5b',
      'a\u094db',
      '1\u0336a',
    ].map(name => [name, 'has a mark that no language puts on its letter'] as [string, string]),
    ['م٠۰', 'has digits of two kinds'],
    ['abcשלום', 'mixes directions of writing'],
    ['שלוםabc', 'mixes directions of writing'],
    ['1שלום', 'mixes directions of writing'],
    ['محمد1١', 'mixes directions of writing'],
    ...[
      '123456789',
      '12',
      '12345678901',
      '１２３４５６７８９',
      '१२३४५६७८९',
      '1oo2o3456',
      'l00000000',
      'IOO200300',
    ].map(name => [name, 'looks like a user id'] as [string, string]),
  ]
  for (const [name, reason] of cases) {
    const error = ofKind('BAD_FIELD', { info: { field: 'username', reason } })
    t.throws(() => userNameOf(name), error, JSON.stringify(name))
    t.equal(maybeUserName(name), undefined)
  }
})

t.test('case, width and composition make no other name (RFC 8265, 3.3.2)', async t => {
  const same: [string, string][] = [
    ['Ann', 'aNN'],
    ['ａｎｎ', 'ann'],
    ['jose\u0301', 'jos\u00e9'],
    ['ﬁona', 'Fiona'],
    ['ΣΙΓΜΑ', 'σιγμα'],
    ['ИВАН', 'иван'],
    ['カナ', 'ｶﾅ'],
    ['𝔭𝒶𝓎𝓅𝒶𝓁', 'paypal'],
  ]
  for (const [one, other] of same) t.ok(isSameUserName(one, other), `${one} ${other}`)
  const different: [string, string][] = [
    ['ann', 'anna'],
    // They look alike, and are not the same.
    ['paypal', 'раураl'],
    ['bob', 'b0b'],
    ['', ''],
    ['a@b', 'a@b'],
  ]
  for (const [one, other] of different) t.notOk(isSameUserName(one, other), `${one} ${other}`)
})

t.test('what looks the same has a key in common (UTS 39, 4), and what does not has none', async t => {
  const isAlike = (one: string, other: string) => {
    const keys: readonly string[] = userNameOf(other).keys
    return userNameOf(one).keys.some(key => keys.includes(key))
  }
  const alike: [string, string][] = [
    ['paypal', 'раураl'],
    ['paypal', 'PAYPAL'],
    // A capital i looks like a small L.
    ['paypal', 'paypaI'],
    ['paypal', 'paypa1'],
    ['google', 'g00gle'],
    ['modern', 'rnodern'],
    ['scope', 'ѕсоре'],
    ['ann', 'ɑnn'],
    ['admin', 'admi\u0307n'],
    ['admin', 'adm\u0131\u0307n'],
    ['zbib', 'zb\u0130b'],
    ['zkij', 'zkij\u0307'],
    ['zkij', 'zk\u0131\u0307\u0237\u0307'],
  ]
  for (const [one, other] of alike) t.ok(isAlike(one, other), `${one} ${other}`)
  for (const [one, other] of [
    ['ann', 'anna'],
    ['bob', 'rob'],
    ['jose', 'josé'],
    ['zin', 'zi\u0308n'],
    ['小明', '小朋'],
  ] as const)
    t.notOk(isAlike(one, other), `${one} ${other}`)
})

t.test('two letters that look like one have a key in common with it, and the name keeps its own', t => {
  const keysOf = (text: string) => userNameOf(text).keys
  const meets = (a: string, b: string) => keysOf(a).some(key => keysOf(b).includes(key))
  for (const [a, b] of [
    ['vvanda', 'wanda'],
    ['VVANDA', 'wanda'],
    ['ovven', 'owen'],
    ['ѵvanda', 'wanda'],
    ['rnax', 'max'],
    ['rnovv', 'mow'],
  ] as const)
    t.ok(meets(a, b), `${a} ${b}`)
  t.not(keysOf('vvanda')[0], keysOf('wanda')[0], 'each is found by its own')
  t.equal(keysOf('wanda').length, 1, 'as it was claimed before')
  t.notOk(meets('clara', 'dara'), 'both are names that people have')
  t.notOk(meets('vanda', 'wanda'))
  t.end()
})

t.test('any text is a name whose spellings are all one, or none', async t => {
  check(
    t,
    fc.property(fc.string({ unit: 'binary', maxLength: 64 }), text => {
      const name = maybeUserName(text)
      if (name === undefined) return
      const { shown, folded, keys } = name
      const again = userNameOf(shown)
      if (again.folded !== folded || again.shown !== shown || again.keys[0] !== keys[0])
        throw new Error('another name')
      if (shown.includes('@') || /^\d+$/.test(shown) || shown.length > 64) throw new Error('no name')
    }),
    { numRuns: 5000 },
  )
  check(
    t,
    fc.property(fc.stringMatching(/^[a-z][a-z0-9._-]{0,20}[a-z]$/), text => {
      const name = maybeUserName(text)
      if (name !== undefined && !isSameUserName(text.toUpperCase(), text)) throw new Error('case counts')
    }),
  )
})
