/** What a page with a form is. */
import type { ProofKind } from '../auth/proofs.js'
import type { RequestName } from '../protocol/requests.js'
import type { Field, Page } from './html.js'

/** What a form's fields hold, by name; '' = none. */
export type Values = (name: string) => string

/** One page with a form, and what its form does. */
export interface Action {
  readonly page: (value: Values, mark: string) => Page
  readonly request: RequestName
  /** Fields that the request gets as they are; empty ones are left out. */
  readonly fields: readonly string[]
  /** What the request gets besides. */
  readonly more?: (value: Values) => Readonly<Record<string, unknown>>
  /** @param data of the reply */
  readonly done: (value: Values, data: unknown) => Page
  /** Of a link to this page. */
  readonly kinds?: readonly ProofKind[]
  /** The form has a mark; see FormMarks. */
  readonly isMarked?: true
  /** It comes behind another one alone, which this names. */
  readonly behind?: string
}

export const EMAIL: Field = { name: 'email', label: 'email', type: 'email', autocomplete: 'username' }
