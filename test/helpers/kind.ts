import type { CodeName } from '../../src/core/errors.js'

/** What `t.rejects` and `t.throws` take for a GatewayError of this kind; their own types know only `code`. */
export const ofKind = (kind: CodeName, more: object = {}): { name: string } =>
  ({ name: 'GatewayError', kind, ...more }) as { name: string }
