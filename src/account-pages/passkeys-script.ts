/**
 * The one script of the pages, which asks the browser for a passkey. Its page may run no other: it is a file, and has no secret.
 * Browsers without `parseCreationOptionsFromJSON` (WebAuthn Level 3) have the bytes decoded here.
 */

export const SCRIPT_NAME = 'passkeys.js'

export const SCRIPT = `'use strict'
{
  const form = document.querySelector('form[data-options]')
  const failed = form.nextElementSibling
  const button = form.querySelector('button')
  const bytes = text => Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), one => one.charCodeAt(0))
  const text = buffer =>
    btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\\+/g, '-').replace(/\\//g, '_').replace(/=/g, '')
  const parse = options =>
    PublicKeyCredential.parseCreationOptionsFromJSON?.(options) ?? {
      ...options,
      challenge: bytes(options.challenge),
      user: { ...options.user, id: bytes(options.user.id) },
      excludeCredentials: options.excludeCredentials.map(one => ({ ...one, id: bytes(one.id) })),
    }
  const make = async () => {
    const publicKey = parse(JSON.parse(form.dataset.options))
    const { rawId, response } = await navigator.credentials.create({ publicKey })
    const id = text(rawId)
    const clientDataJSON = text(response.clientDataJSON)
    const attestationObject = text(response.attestationObject)
    return { id, rawId: id, type: 'public-key', response: { clientDataJSON, attestationObject } }
  }
  form.addEventListener('submit', async event => {
    event.preventDefault()
    button.disabled = true
    failed.hidden = true
    try {
      form.elements.passkey.value = JSON.stringify(await make())
      form.submit()
    } catch {
      failed.hidden = false
      button.disabled = false
    }
  })
}
`
