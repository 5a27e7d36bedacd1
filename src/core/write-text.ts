/**
 * Writes a text as UTF-8. A text with as many bytes as UTF-16 units is ASCII, for which latin1 gives the same bytes faster.
 * @param bytes of the text as UTF-8 @returns `bytes`
 */
export const writeText = (buffer: Buffer, text: string, bytes: number, at: number): number =>
  buffer.write(text, at, bytes === text.length ? 'latin1' : 'utf8')
