/** The name of a file as its readers see it. It is never part of a path here. */

/** Longest name, bytes of UTF-8: what most file systems take (255), less what a browser adds to it. */
const MAX_NAME_BYTES = 200
/** Longest ending that is kept where a name is cut. */
const MAX_ENDING_BYTES = 20

/**
 * Control characters, those without a width, and those that turn the direction of text around: `annexe<U+202E>gpj.exe` reads
 * as a picture. U+200D stays, which joins emoji.
 */
const HIDDEN =
  /[\p{Cc}\p{Zl}\p{Zp}\p{Co}\p{Cn}\u00ad\u061c\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/gu
/** What a path, a shell or a file system takes for something else. */
const SPECIAL = /["*:<>?|]/g

/** @param name as a client gives it, well-formed Unicode of bounded length @returns never empty, and no path */
export function cleanName(name: string): string {
  const last = name.normalize('NFC').split(/[/\\]/).at(-1) ?? ''
  const plain = last.replace(HIDDEN, '').replace(SPECIAL, '_').replace(/\s+/gu, ' ')
  const trimmed = plain.replace(/^[. ]+|[. ]+$/g, '')
  return shortened(trimmed) || 'file'
}

function shortened(name: string): string {
  if (Buffer.byteLength(name) <= MAX_NAME_BYTES) return name
  const [ending = ''] = /\.[^.]{1,20}$/.exec(name) ?? []
  const kept = Buffer.byteLength(ending) <= MAX_ENDING_BYTES ? ending : ''
  let length = 0
  let cut = ''
  for (const character of name) {
    length += Buffer.byteLength(character)
    if (length > MAX_NAME_BYTES - Buffer.byteLength(kept)) break
    cut += character
  }
  return cut + kept
}
