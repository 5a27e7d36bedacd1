/**
 * The pages below /account in a real browser, without scripts but for passkeys: Debian's chromium, by playwright-core. Skipped, and says so, where
 * there is no chromium; `.ci/run` installs it.
 */
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'
import { decodeQR } from 'qr/decode.js'
import sharp from 'sharp'
import t, { type Test } from 'tap'
import { WORDS } from '../../src/account-pages/words.js'
import { authenticator } from '../helpers/factor.js'
import { jsonClient, loggedIn, register, startGateway } from '../helpers/gateway.js'
import { MailFolder } from '../helpers/mail.js'

const executablePath = (process.env.PATH ?? '')
  .split(delimiter)
  .map(dir => join(dir, 'chromium'))
  .find(path => {
    try {
      accessSync(path, constants.X_OK)
      return true
    } catch {
      return false
    }
  })

if (executablePath === undefined) {
  t.comment('There is no chromium: the pages below /account were NOT tried in a browser.')
  t.pass('skipped', { skip: 'no chromium' })
} else {
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
  t.teardown(() => browser.close())
  await pages(browser)
}

/** Fails at anything that the browser says of the page: a policy that blocks something of ours, a script, a failed request. */
async function open(t: Test, browser: Browser, locale: string, javaScriptEnabled = false): Promise<Page> {
  const context = await browser.newContext({ locale, javaScriptEnabled })
  t.teardown(() => context.close())
  const page = await context.newPage()
  page.on(
    'console',
    message =>
      message.type() === 'error' && !/status of 4\d\d/.test(message.text()) && t.fail(message.text()),
  )
  page.on('pageerror', error => t.fail(error.message))
  return page
}

/** What a phone reads in a picture. */
async function scanned(png: Buffer): Promise<string> {
  const { data, info } = await sharp(png).ensureAlpha().raw().toBuffer({ resolveWithObject: true })
  return decodeQR({ width: info.width, height: info.height, data: Uint8Array.from(data) })
}

interface Kept {
  readonly credentialId: string
  readonly signCount: number
}

/** A phone with a screen lock, in software of the browser (Chrome DevTools Protocol, domain WebAuthn). */
async function phone(page: Page) {
  const cdp = await page.context().newCDPSession(page)
  await cdp.send('WebAuthn.enable')
  const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2',
      transport: 'internal',
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  })
  return {
    kept: async (): Promise<readonly Kept[]> =>
      (await cdp.send('WebAuthn.getCredentials', { authenticatorId })).credentials,
    /** As a copy that was made when the counter was there. */
    setBack: async (signCount: number) => {
      const [credential] = (await cdp.send('WebAuthn.getCredentials', { authenticatorId })).credentials
      if (credential === undefined) throw new Error('there is none')
      const { credentialId } = credential
      await cdp.send('WebAuthn.removeCredential', { authenticatorId, credentialId })
      await cdp.send('WebAuthn.addCredential', { authenticatorId, credential: { ...credential, signCount } })
    },
  }
}

async function pages(browser: Browser): Promise<void> {
  const gateway = await startGateway(t)
  const mail = new MailFolder(join(gateway.dir, 'mail'))
  const url = (name: string) => `${gateway.http}/account/${name}`

  await t.test('a forgotten password, in Chinese: letter, link, button', async t => {
    const ann = await register(t, gateway)
    const page = await open(t, browser, 'zh-TW')
    await page.goto(`${gateway.http}/account`)
    await page.getByRole('link', { name: '忘記密碼' }).click()
    t.equal(page.url(), url('forgot'))
    const style = "getComputedStyle(document.querySelector('main')).borderTopLeftRadius"
    t.not(await page.evaluate(style), '0px', 'the policy lets the style in')
    await page.getByLabel('電子郵件地址').fill(ann.email)
    await page.getByRole('button', { name: '寄出信件' }).click()
    t.match(await page.locator('h1').textContent(), '請查看您的信箱')
    const { link } = await mail.next(ann.email)
    const response = await page.goto(link)
    t.equal(response?.status(), 200)
    await page.getByLabel('新密碼', { exact: true }).fill('another one')
    await page.getByLabel('再輸入一次新密碼').fill('another one')
    const [posted] = await Promise.all([
      page.waitForRequest(one => one.method() === 'POST'),
      page.getByRole('button').click(),
    ])
    const headers = await posted.allHeaders()
    t.equal(headers.referer, undefined, 'the link is told to nobody')
    await page.waitForLoadState()
    t.match(await page.locator('h1').textContent(), '密碼已設定')
    t.notMatch(page.url(), 'token')
    const client = await jsonClient(t, gateway)
    t.match(await client.action('login', { email: ann.email, password: 'another one' }), { code: 202 })
    await page.goto(link)
    t.match(await page.getByRole('alert').textContent(), '已使用過或已過期')
    await mail.next(ann.email)
  })

  await t.test('by the code, in English; what was typed wrong is said, and the address stays', async t => {
    const bob = await register(t, gateway)
    const page = await open(t, browser, 'en-GB')
    await page.goto(url('forgot'))
    await page.getByLabel('Email address').fill(bob.email)
    await page.getByRole('button', { name: 'Send the letter' }).click()
    const { code } = await mail.next(bob.email)
    const fill = async (typed: string, repeat: string) => {
      await page.getByLabel('Code of the letter').fill(typed)
      await page.getByLabel('New password', { exact: true }).fill('by code')
      await page.getByLabel('New password, once more').fill(repeat)
      await page.getByRole('button', { name: 'Set the password' }).click()
    }
    await fill('AAAAA-AAAAA', 'by code')
    t.match(await page.getByRole('alert').textContent(), 'That code is wrong')
    await fill(code, 'other')
    t.match(await page.getByRole('alert').textContent(), 'not the same')
    t.equal(await page.getByLabel('Email address').inputValue(), bob.email)
    await fill(code.toLowerCase(), 'by code')
    t.match(await page.locator('h1').textContent(), 'Your password is set')
    await mail.next(bob.email)
  })

  await t.test('the second factor, in Chinese: the picture can be scanned', async t => {
    const kim = await register(t, gateway)
    const page = await open(t, browser, 'zh-TW')
    await page.goto(`${gateway.http}/account`)
    await page.getByRole('link', { name: '啟用兩步驟驗證' }).click()
    await page.getByLabel('電子郵件地址').fill(kim.email)
    await page.getByLabel('密碼', { exact: true }).fill(kim.password)
    await page.getByRole('button').click()
    const uri = await scanned(await page.getByRole('img', { name: 'QR code' }).screenshot())
    t.match(uri, `otpauth://totp/MumiChat:${encodeURIComponent(kim.email)}`)
    const code = authenticator(new URL(uri).searchParams.get('secret') ?? '')
    await page.getByLabel('應用程式的驗證碼').fill(code())
    await page.getByRole('button').click()
    t.match(await page.locator('h1').textContent(), '您的備用碼')
    t.equal(await page.locator('code').count(), 10)
    const client = await jsonClient(t, gateway)
    const login = { email: kim.email, password: kim.password }
    t.match(await client.action('login', login), { code: 10145 })
    t.match(await client.action('login', { ...login, code: code() }), { code: 202 })
    await mail.next(kim.email)
  })

  for (const [locale, isOld] of [
    ['en-GB', false],
    ['zh-TW', true],
  ] as const)
    await t.test(
      `passkeys, ${locale}: ${isOld ? 'a browser without the JSON forms' : 'of today'}`,
      async t => {
        const words = WORDS[isOld ? 'zh-TW' : 'en']
        const ann = await register(t, gateway)
        const page = await open(t, browser, locale, true)
        if (isOld) await page.addInitScript('delete PublicKeyCredential.parseCreationOptionsFromJSON')
        const device = await phone(page)
        const here = `http://localhost:${gateway.httpPort}`
        const list = async () => {
          await page.goto(`${here}/account`)
          await page.getByRole('link', { name: words.passkeys }).click()
          await page.getByLabel(words.email).fill(ann.email)
          await page.getByLabel(words.password, { exact: true }).fill(ann.password)
          await page.getByRole('button').click()
        }
        const add = async (name: string) => {
          await page.getByLabel(words.passkeyName).fill(name)
          await page.getByRole('button', { name: words.addPasskey }).click()
        }
        /** By REST, with what the browser answers. @returns the status */
        const logIn = async () => {
          const asked = await fetch(`${here}/api/v1/login/passkey-options`)
          const options = `PublicKeyCredential.parseRequestOptionsFromJSON(${await asked.text()})`
          const answer = `navigator.credentials.get({ publicKey: ${options} }).then(one => one.toJSON())`
          const body = JSON.stringify({ passkey: await page.evaluate(answer) })
          const headers = { 'content-type': 'application/json' }
          return (await fetch(`${here}/api/v1/login`, { method: 'POST', headers, body })).status
        }
        await list()
        t.match(await page.locator('p').first().textContent(), words.passkeysNone)
        await add('<b>"telephone"')
        await page.getByRole('heading', { name: words.passkeyAdded }).waitFor()
        t.match(page.url(), /\/account\/passkeys-add$/)
        await mail.next(ann.email)
        t.equal(await logIn(), 200)
        t.equal(await logIn(), 200)
        const [{ signCount } = { signCount: 0 }] = await device.kept()
        t.ok(signCount >= 2, 'the counter rises')
        await device.setBack(0)
        t.equal(await logIn(), 401, 'a copy is refused')
        await device.setBack(signCount)
        t.equal(await logIn(), 200)

        await list()
        await add('the same')
        t.match(await page.getByRole('alert').textContent(), words.noPasskeyMade, 'one to an authenticator')
        const password = page.getByLabel(words.password, { exact: true })
        await password.fill('wrong')
        await password.press('Enter')
        const remove = page.getByRole('button', { name: `${words.removePasskey}: <b>"telephone" (2` })
        await remove.click()
        t.match(await page.getByRole('alert').textContent(), words.badLogin)
        await password.fill(ann.password)
        await page.getByRole('button', { name: words.removePasskey }).click()
        await page.getByRole('heading', { name: words.passkeyRemoved }).waitFor()
        t.equal(await logIn(), 401)
        await list()
        t.match(await page.locator('p').first().textContent(), words.passkeysNone)
      },
    )

  await t.test('another website can neither frame a page nor post its form', async t => {
    const eve = await register(t, gateway)
    const { createServer } = await import('node:http')
    const evil = createServer((_request, response) => {
      response.setHeader('Content-Type', 'text/html')
      response.end(`<form method="post" action="${url('forgot')}"><input name="email" value="${eve.email}"><button>win</button></form>
<iframe src="${url('forgot')}"></iframe>`)
    })
    await new Promise<void>(resolve => evil.listen(0, '127.0.0.1', resolve))
    t.teardown(() => evil.close())
    const address = evil.address()
    const context = await browser.newContext({ javaScriptEnabled: false })
    t.teardown(() => context.close())
    const page = await context.newPage()
    await page.goto(`http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/`)
    const framed = await Promise.all(
      page
        .frames()
        .slice(1)
        .map(frame => frame.locator('form').count()),
    )
    t.same(framed, [0])
    await page.getByRole('button').click()
    t.match(await page.getByRole('alert').textContent(), /./)
    t.same(mail.unread(), [])
  })

  await t.test('a changed address is taken back', async t => {
    const ann = await register(t, gateway)
    const client = await loggedIn(t, gateway, ann)
    await client.action('language', { language: 'en' })
    await client.action('changeEmail', { password: ann.password, email: 'moved@example.com' })
    const page = await open(t, browser, 'en-GB')
    await page.goto((await mail.next('moved@example.com')).link)
    await page.getByRole('button', { name: 'Confirm' }).click()
    t.match(await page.locator('h1').textContent(), 'is confirmed')
    await page.goto((await mail.next(ann.email)).link)
    await page.getByLabel('New password', { exact: true }).fill('mine again')
    await page.getByLabel('New password, once more').fill('mine again')
    await page.getByRole('button', { name: 'Take it back' }).click()
    t.match(await page.locator('h1').textContent(), 'has its address back')
    const again = await jsonClient(t, gateway)
    t.match(await again.action('login', { email: ann.email, password: 'mine again' }), { code: 202 })
  })
}
