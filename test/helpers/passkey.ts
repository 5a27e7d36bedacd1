/** An authenticator in software: answers the two ceremonies of WebAuthn as a browser would post them. */
import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto'

const sha256 = (data: Buffer | string) => createHash('sha256').update(data).digest()
const base64url = (data: Buffer | string) => Buffer.from(data).toString('base64url')

/** CBOR of lengths below 65,536 (RFC 8949, 3). */
const cbor = {
  bytes: (data: Buffer) =>
    Buffer.concat([
      data.length < 256
        ? Buffer.from([0x58, data.length])
        : Buffer.from([0x59, data.length >> 8, data.length & 255]),
      data,
    ]),
  text: (text: string) => Buffer.from([0x60 + text.length, ...Buffer.from(text)]),
}

export interface Behaviour {
  readonly origin: string
  readonly rpId: string
  /** Whether a person showed who they are: by a PIN or a finger. */
  readonly isVerified?: boolean
}

export class SoftPasskey {
  counter = 0
  readonly #keys = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  userHandle = ''

  constructor(
    public behaviour: Behaviour,
    readonly id = randomBytes(16),
  ) {}

  /** @param format @param statement of the attestation; the statement as CBOR */
  register(
    { challenge, user }: { readonly challenge: string; readonly user: { readonly id: string } },
    format = 'none',
    statement = Buffer.from([0xa0]),
  ) {
    this.userHandle = user.id
    const { x = '', y = '' } = this.#keys.publicKey.export({ format: 'jwk' })
    const cose = Buffer.concat([
      Buffer.from([0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21]),
      cbor.bytes(Buffer.from(x, 'base64url')),
      Buffer.from([0x22]),
      cbor.bytes(Buffer.from(y, 'base64url')),
    ])
    const attested = Buffer.concat([Buffer.alloc(16), Buffer.from([0, this.id.length]), this.id, cose])
    const authData = Buffer.concat([this.#head(0x40), attested])
    const attestationObject = Buffer.concat([
      Buffer.from([0xa3]),
      cbor.text('fmt'),
      cbor.text(format),
      cbor.text('attStmt'),
      statement,
      cbor.text('authData'),
      cbor.bytes(authData),
    ])
    const clientDataJSON = this.#clientData('webauthn.create', challenge)
    return this.#response({ clientDataJSON, attestationObject: base64url(attestationObject) })
  }

  answer({ challenge }: { readonly challenge: string }) {
    this.counter++
    const clientDataJSON = this.#clientData('webauthn.get', challenge)
    const authenticatorData = this.#head(0)
    const signed = Buffer.concat([authenticatorData, sha256(Buffer.from(clientDataJSON, 'base64url'))])
    return this.#response({
      clientDataJSON,
      authenticatorData: base64url(authenticatorData),
      signature: base64url(sign('sha256', signed, this.#keys.privateKey)),
      userHandle: this.userHandle,
    })
  }

  #clientData(type: string, challenge: string): string {
    return base64url(JSON.stringify({ type, challenge, origin: this.behaviour.origin, crossOrigin: false }))
  }

  #head(flags: number): Buffer {
    const counter = Buffer.alloc(4)
    counter.writeUInt32BE(this.counter)
    const verified = this.behaviour.isVerified === false ? 0 : 0x04
    return Buffer.concat([sha256(this.behaviour.rpId), Buffer.from([0x01 | verified | flags]), counter])
  }

  #response<R extends object>(response: R) {
    const id = base64url(this.id)
    return { id, rawId: id, type: 'public-key' as const, clientExtensionResults: {}, response }
  }
}
