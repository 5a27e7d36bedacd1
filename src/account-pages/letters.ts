/** Pages that go with letters: a forgotten password, and the account's address. */
import { type Action, EMAIL, type Values } from './action.js'
import type { Field, Form } from './html.js'

const CODE: Field = { name: 'code', label: 'code', autocomplete: 'one-time-code' }
const PASSWORDS: readonly Field[] = [
  { name: 'newPassword', label: 'newPassword', type: 'password', autocomplete: 'new-password' },
  { name: 'repeat', label: 'repeat', type: 'password', autocomplete: 'new-password' },
]

/** Who the letter was for: its link says it, or the person types it with the code. */
const proofFields = (value: Values): readonly Field[] =>
  value('token') === ''
    ? [{ ...EMAIL, value: value('email') }, CODE]
    : [{ name: 'token', value: value('token') }]

const resetForm = (value: Values): Form => ({
  action: 'reset',
  fields: [...proofFields(value), ...PASSWORDS],
  button: 'set',
})

export const LETTER_ACTIONS: Readonly<Record<string, Action>> = {
  forgot: {
    page: (value, mark) => ({
      title: 'forgot',
      lead: 'forgotLead',
      forms: [
        {
          action: 'forgot',
          fields: [
            { ...EMAIL, value: value('email') },
            { name: 'mark', value: mark },
          ],
          button: 'send',
        },
      ],
    }),
    request: 'requestPasswordReset',
    fields: ['email'],
    // The same for every address.
    done: value => ({ title: 'sent', lead: 'sentLead', forms: [resetForm(value)] }),
    isMarked: true,
  },
  reset: {
    page: value => ({ title: 'reset', lead: 'resetLead', forms: [resetForm(value)] }),
    request: 'resetPassword',
    fields: ['token', 'email', 'code', 'newPassword'],
    done: () => ({ title: 'resetDone', lead: 'resetDoneLead' }),
    kinds: ['reset'],
  },
  verify: {
    page: value => ({
      title: 'verify',
      lead: 'verifyLead',
      forms: [{ action: 'verify', fields: proofFields(value), button: 'confirm' }],
      ...(value('token') === '' && { links: [{ to: 'resend', text: 'resend' }] }),
    }),
    request: 'verifyEmail',
    fields: ['token', 'email', 'code'],
    done: () => ({ title: 'verifyDone', lead: 'verifyDoneLead' }),
    kinds: ['verify', 'change'],
  },
  resend: {
    page: (value, mark) => ({
      title: 'resend',
      forms: [
        {
          action: 'resend',
          fields: [
            { ...EMAIL, value: value('email') },
            { name: 'mark', value: mark },
          ],
          button: 'send',
        },
      ],
    }),
    request: 'resendVerification',
    fields: ['email'],
    done: value => ({
      title: 'sent',
      lead: 'sentLead',
      forms: [{ action: 'verify', fields: proofFields(value), button: 'confirm' }],
    }),
    isMarked: true,
  },
  undo: {
    page: value => ({
      title: 'undo',
      lead: 'undoLead',
      forms: [
        {
          action: 'undo',
          fields: [{ name: 'token', value: value('token') }, ...PASSWORDS],
          button: 'undoConfirm',
        },
      ],
    }),
    request: 'undoEmail',
    fields: ['token', 'newPassword'],
    done: () => ({ title: 'undoDone', lead: 'undoDoneLead' }),
    kinds: ['undo'],
  },
}
