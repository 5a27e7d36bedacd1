import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import t from 'tap'
import { direct } from '../../scripts/dependencies.js'
import { withCodeTable, withCount } from '../../scripts/docs.js'
import { manPage } from '../../scripts/man.js'
import { CODES } from '../../src/core/errors.js'

const SRC = new URL('../../src/', import.meta.url)

t.test('the code table in docs/protocol.md is the one in src/core/codes.ts', async t => {
  const document = readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8')
  t.equal(withCodeTable(document), document)
  t.ok(document.includes('| 10010 | ERROR_FIND_USER |'), 'and it is there at all')
})

t.test('the man page docs/mumi.1 is what `npm run docs` makes of the help', async t => {
  const page = readFileSync(new URL('../../docs/mumi.1', import.meta.url), 'utf8')
  t.equal(page, manPage(), 'run npm run docs')
  for (const name of ['serve', 'chat [\\-\\-server URL] EMAIL [NAME]', '\\-h, \\-\\-help'])
    t.ok(page.includes(`\n.B ${name}\n`), name)
  t.match(page, '.SS mumi user create <email>\n')
  t.match(page, '  mumi sessions kick ann@example.com \\-\\-revoke\n', 'and its examples')
})

t.test('numbers of codes are unique, and our own start at 10100', async t => {
  const numbers = Object.values(CODES).map(row => row.code)
  t.equal(new Set(numbers).size, numbers.length)
  for (const code of numbers) t.ok(code < 10012 || code >= 10100)
})

t.test('docs/security.md gives the reason for each package, and their number', async t => {
  const document = readFileSync(new URL('../../docs/security.md', import.meta.url), 'utf8')
  const [, table = ''] = /<!-- dependencies -->([\s\S]*)<!-- \/dependencies -->/.exec(document) ?? []
  const rows = [...table.matchAll(/^\| `(.+?)` \| (.+) \|$/gm)]
  t.same(
    rows.map(([, name]) => name),
    direct(),
  )
  t.equal(withCount(document), document)
})

t.test('packages whose internals are used are pinned to one version', async t => {
  const { dependencies } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  for (const name of ['lmdb', 'qlobber']) t.match(dependencies[name], /^\d+\.\d+\.\d+$/, name)
})

const IMPORT = /\b(?:from |import |import\()'((?:@[\w.-]+\/)?[\w-][\w.:-]*)/g

t.test('the program imports exactly its dependencies', async t => {
  const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter(file => /\.[jt]s$/.test(file))
  const imported = files.flatMap(file => {
    const text = readFileSync(new URL(file, SRC), 'utf8')
    return [...text.matchAll(IMPORT)].map(([, name = '']) => name)
  })
  const packages = [...new Set(imported)].filter(name => !isBuiltin(name))
  t.same(packages.sort(), direct())
})

const ROOT = new URL('../../', import.meta.url)

/** Paths in back quotes that `pattern` finds in a document, each once. */
function paths(document: string, pattern: RegExp): string[] {
  const text = readFileSync(new URL(`docs/${document}`, ROOT), 'utf8')
  return [...new Set([...text.matchAll(pattern)].map(([, path = '']) => path))]
}

t.test('every file that docs/adding.md names exists', async t => {
  const named = paths('adding.md', /`((?:src|test|docs|scripts|config)\/[^`]*)`/g)
  t.ok(named.length > 30, 'and it names some')
  for (const path of named) t.ok(existsSync(new URL(path, ROOT)), path)
})

t.test('every file of src/ that docs/design.md names exists', async t => {
  const named = paths('design.md', /`([\w-]+\/[\w/-]*(?:\.ts)?)`/g).filter(path =>
    existsSync(new URL(path.split('/')[0] ?? '', SRC)),
  )
  t.ok(named.length > 50, 'and it names some')
  for (const path of named) t.ok(existsSync(new URL(path, SRC)), path)
})

t.test('docs/mqtt5-statements.md: each test file that holds a statement names it', async t => {
  const document = readFileSync(new URL('../../docs/mqtt5-statements.md', import.meta.url), 'utf8')
  const rows = [...document.matchAll(/^\| (MQTT-[\d.]+-\d+) \| .+ \| (.+) \|$/gm)]
  t.ok(rows.length > 200, `${rows.length} statements`)
  const texts = new Map<string, string>()
  const textOf = (file: string) => {
    const path = new URL(`../${file}.test.ts`, import.meta.url)
    if (!texts.has(file)) texts.set(file, readFileSync(path, 'utf8'))
    return texts.get(file)
  }
  for (const [, statement, cell = ''] of rows)
    for (const [, file = ''] of cell.matchAll(/`((?:unit|wire)\/[\w-]+)`/g))
      if (!textOf(file)?.includes(`[${statement}]`)) t.fail(`${file} does not hold ${statement}`)
})

/** Documents that come with the package. */
const DOCUMENTS = [
  'README.md',
  'README.zh-TW.md',
  'CHANGELOG.md',
  '.github/SECURITY.md',
  ...readdirSync(new URL('docs/', ROOT)).map(name => `docs/${name}`),
]

t.test('every link in a document leads to a file of the package, and to a heading that is there', async t => {
  const { files }: { files: string[] } = JSON.parse(readFileSync(new URL('package.json', ROOT), 'utf8'))
  let links = 0
  for (const document of DOCUMENTS) {
    const base = new URL(document, ROOT)
    for (const [, link = ''] of readFileSync(base, 'utf8').matchAll(/\]\((?!\w+:)([^)\s]+)\)/g)) {
      links++
      const target = new URL(link, base)
      const hash = decodeURIComponent(target.hash.slice(1))
      target.hash = ''
      if (!existsSync(target)) t.fail(`${document}: ${link}: no such file`)
      else if (hash !== '' && !anchors(target).includes(hash)) t.fail(`${document}: ${link}: no such heading`)
      const path = target.href.slice(ROOT.href.length)
      t.ok(files.includes(path) || files.includes(path.split('/')[0] ?? ''), `${document}: ${path} is packed`)
    }
  }
  t.ok(links > 40, `${links} links`)
})

/** The anchors that GitHub makes of the headings. */
function anchors(document: URL): string[] {
  const headings = readFileSync(document, 'utf8').matchAll(/^#+ (.+)$/gm)
  return Array.from(headings, ([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}

/** Blocks of a shell in a document. */
const blocks = (document: string) =>
  Array.from(
    readFileSync(new URL(document, ROOT), 'utf8').matchAll(/^```sh\n([\s\S]*?)^```$/gm),
    ([, block]) => block,
  )

t.test('both READMEs have the same commands, links and sections', async t => {
  const parts = (document: string) => {
    const text = readFileSync(new URL(document, ROOT), 'utf8')
    const inline = [...text.matchAll(/`([^`\n]+)`/g)].map(([, code]) => code)
    const links = [...text.matchAll(/\]\((docs[^)]*)\)/g)].map(([, link]) => link)
    return {
      blocks: blocks(document),
      inline: inline.sort(),
      links: links.sort(),
      sections: text.match(/^## /gm)?.length,
    }
  }
  t.same(parts('README.zh-TW.md'), parts('README.md'))
  t.ok(blocks('README.md').length >= 5)
})
