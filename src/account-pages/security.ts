/**
 * Pages of the second factor and of app passwords. There is no session: each form has the password, and a code where it is on,
 * and nothing of it is in an address or kept.
 */
import { encodeQR } from 'qr'
import { totpUri } from '../auth/second-factor/totp.js'
import { type Action, EMAIL, type Values } from './action.js'
import type { Field, Form, Page } from './html.js'

const PASSWORD: Field = {
  name: 'password',
  label: 'password',
  type: 'password',
  autocomplete: 'current-password',
}
const CODE_IF_ON: Field = { name: 'code', label: 'codeIfOn', autocomplete: 'one-time-code', isOptional: true }

/** Whoever sends it shows that the account is theirs. What was typed into the password is not sent back. */
export const owner = (value: Values, mark: string): readonly Field[] => [
  { ...EMAIL, value: value('email') },
  PASSWORD,
  CODE_IF_ON,
  { name: 'mark', value: mark },
]

export const OWNER = ['email', 'password', 'code'] as const

/** Of an account's address in the picture, which has room for some 2,000 bytes; apps show less. */
const MAX_LABEL = 64

function picture(email: string, secret: string): string {
  const label = Array.from(email).slice(0, MAX_LABEL).join('')
  return encodeQR(totpUri(secret, label), 'svg')
}

/** As the gateway makes them: what is posted may be anything. */
const SECRET = /^[A-Z2-7]{32}$/

/** The secret, for the app, by which the form shows that it comes from whoever began. */
function scanPage(email: string, secret: string, mark: string): Page {
  if (!SECRET.test(secret)) return { title: 'scan', links: [{ to: 'second-factor', text: 'secondFactor' }] }
  const form: Form = {
    action: 'second-factor-on',
    fields: [
      { name: 'email', value: email },
      { name: 'secret', value: secret },
      { name: 'code', label: 'appCode', autocomplete: 'one-time-code' },
      { name: 'mark', value: mark },
    ],
    button: 'switchOn',
  }
  return {
    title: 'scan',
    lead: 'scanLead',
    picture: { svg: picture(email, secret), label: 'qr' },
    secrets: [secret.replace(/.{4}(?=.)/g, '$& ')],
    note: 'scanNote',
    forms: [form],
  }
}

const codesPage = (data: unknown): Page => ({
  title: 'recoveryDone',
  lead: 'recoveryDoneLead',
  secrets: (data as { readonly recoveryCodes: readonly string[] }).recoveryCodes,
})

export const SECURITY_ACTIONS: Readonly<Record<string, Action>> = {
  'second-factor': {
    page: (value, mark) => ({
      title: 'secondFactor',
      lead: 'secondFactorLead',
      forms: [{ action: 'second-factor', fields: owner(value, mark), button: 'next' }],
    }),
    request: 'beginSecondFactor',
    fields: OWNER,
    done: (value, data) =>
      scanPage(value('email'), (data as { readonly secret: string }).secret, value('mark')),
    isMarked: true,
  },
  'second-factor-on': {
    page: (value, mark) => scanPage(value('email'), value('secret'), mark),
    request: 'confirmSecondFactor',
    fields: ['email', 'secret', 'code'],
    done: (_value, data) => ({
      ...codesPage(data),
      note: 'secondFactorDoneNote',
      links: [{ to: 'app-password', text: 'appPassword' }],
    }),
    isMarked: true,
    behind: 'second-factor',
  },
  'recovery-codes': {
    page: (value, mark) => ({
      title: 'recoveryCodes',
      lead: 'recoveryLead',
      forms: [{ action: 'recovery-codes', fields: owner(value, mark), button: 'make' }],
    }),
    request: 'renewRecoveryCodes',
    fields: OWNER,
    done: (_value, data) => codesPage(data),
    isMarked: true,
  },
  'app-password': {
    page: (value, mark) => ({
      title: 'appPassword',
      lead: 'appPasswordLead',
      forms: [
        {
          action: 'app-password',
          fields: [...owner(value, mark), { name: 'name', label: 'appName', value: value('name') }],
          button: 'makeOne',
        },
      ],
    }),
    request: 'mintAppPassword',
    fields: [...OWNER, 'name'],
    done: (_value, data) => ({
      title: 'appPasswordDone',
      lead: 'appPasswordDoneLead',
      secrets: [(data as { readonly password: string }).password],
    }),
    isMarked: true,
  },
  'second-factor-off': {
    page: (value, mark) => ({
      title: 'secondFactorOff',
      lead: 'secondFactorOffLead',
      forms: [{ action: 'second-factor-off', fields: owner(value, mark), button: 'switchOff' }],
    }),
    request: 'removeSecondFactor',
    fields: OWNER,
    done: () => ({ title: 'secondFactorOffDone', lead: 'secondFactorOffDoneLead' }),
    isMarked: true,
  },
}
