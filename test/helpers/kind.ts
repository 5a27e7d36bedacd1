import type { CodeName } from '../../src/core/errors.js'

/** Pattern for `t.rejects` and `t.throws` that matches a GatewayError of this kind; tap's types only know `code`. */
export const ofKind = (kind: CodeName, more: object = {}): { name: string } =>
  ({ name: 'GatewayError', kind, ...more }) as { name: string }
