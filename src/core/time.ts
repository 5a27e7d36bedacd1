/** Times in the format of the wire. */

/**
 * UTC, RFC 3339, whole seconds: `2019-07-15T09:28:10Z`. The text of the last second is cached because consecutive calls
 * are mostly in the same second.
 * @param at ms since the epoch
 */
export function formatTime(at: number): string {
  const second = Math.floor(at / 1000)
  if (second !== lastSecond) {
    lastSecond = second
    lastTime = `${new Date(second * 1000).toISOString().slice(0, 19)}Z`
  }
  return lastTime
}
let lastSecond = Number.NaN
let lastTime = ''
