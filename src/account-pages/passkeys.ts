/**
 * The page of passkeys. One form with the password, and a code where the second factor is on, shows them and begins another. The
 * challenge that its answer has stands for the password when the passkey comes; removing one needs the password once more.
 */
import { type Action, EMAIL, type Values } from './action.js'
import type { Field, Form, Page } from './html.js'
import { OWNER, owner } from './security.js'

interface Shown {
  readonly passkeys: readonly { readonly id: string; readonly name: string; readonly created_at: string }[]
  /** Without it there is no room for another. */
  readonly options?: unknown
}

const NAME: Field = { name: 'name', label: 'passkeyName' }
const AGAIN = [{ to: 'passkeys', text: 'passkeys' }] as const

/** The fields of the owner, with an address that is not typed again. */
const known = (value: Values, mark: string): readonly Field[] =>
  owner(value, mark).map(field =>
    field.name === EMAIL.name ? { name: field.name, value: value('email') } : field,
  )

function adding(value: Values, mark: string, options?: unknown): Form {
  return {
    action: 'passkeys-add',
    fields: [
      { name: 'email', value: value('email') },
      { ...NAME, value: value('name') },
      { name: 'passkey', value: value('passkey') },
      { name: 'mark', value: mark },
    ],
    button: 'addPasskey',
    options,
  }
}

function list(value: Values, { passkeys, options }: Shown): Page {
  const mark = value('mark')
  const of = passkeys.map(({ id, name, created_at }) => ({
    value: id,
    text: `${name} (${created_at.slice(0, 10)})`,
  }))
  const removing: Form = {
    action: 'passkeys-remove',
    fields: known(value, mark),
    button: 'removePasskey',
    choices: { name: 'passkey', of },
  }
  // Nothing but the address goes on from the form before.
  const address: Values = name => (name === 'email' ? value(name) : '')
  return {
    title: 'passkeys',
    lead: passkeys.length === 0 ? 'passkeysNone' : 'passkeysSome',
    forms: [
      ...(passkeys.length === 0 ? [] : [removing]),
      ...(options === undefined ? [] : [adding(address, mark, options)]),
    ],
  }
}

/** @returns undefined if it is no JSON; the request is refused then */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

export const PASSKEY_ACTIONS: Readonly<Record<string, Action>> = {
  passkeys: {
    page: (value, mark) => ({
      title: 'passkeys',
      lead: 'passkeysLead',
      forms: [{ action: 'passkeys', fields: owner(value, mark), button: 'next' }],
    }),
    request: 'beginPasskey',
    fields: OWNER,
    more: () => ({ list: true }),
    done: (value, data) => list(value, data as Shown),
    isMarked: true,
  },
  'passkeys-add': {
    // What the browser made is sent once more, so that another name can be given.
    page: (value, mark) => ({
      title: 'passkeys',
      ...(value('passkey') !== '' && { forms: [adding(value, mark)] }),
      links: AGAIN,
    }),
    request: 'addPasskey',
    fields: ['email', 'name'],
    more: value => ({ passkey: parsed(value('passkey')) }),
    done: () => ({ title: 'passkeyAdded', lead: 'passkeyAddedLead', links: AGAIN }),
    isMarked: true,
    behind: 'passkeys',
  },
  'passkeys-remove': {
    page: (value, mark) => ({
      title: 'passkeys',
      forms: [
        {
          action: 'passkeys-remove',
          fields: [...known(value, mark), { name: 'passkey', value: value('passkey') }],
          button: 'removePasskey',
        },
      ],
      links: AGAIN,
    }),
    request: 'removePasskey',
    fields: [...OWNER, 'passkey'],
    done: () => ({ title: 'passkeyRemoved', lead: 'passkeyRemovedLead', links: AGAIN }),
    isMarked: true,
    behind: 'passkeys',
  },
}
