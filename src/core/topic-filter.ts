/** Topic filters of MQTT 3.1.1, section 4.7: syntax and matching. */

/** The rule that a filter violates. */
export interface FilterFault {
  readonly reason: string
  /** Clause of the specification. */
  readonly clause: string
}

/** @returns undefined if the syntax of the filter is valid; its length and its UTF-8 are not checked */
export function filterFault(filter: string): FilterFault | undefined {
  if (filter === '') return { reason: 'empty topic filter', clause: '[MQTT-4.7.3-1]' }
  if (filter.includes('\0')) return { reason: 'NUL in the topic filter', clause: '[MQTT-4.7.3-2]' }
  if (!hasWildcard(filter)) return undefined
  const levels = filter.split('/')
  for (const [i, level] of levels.entries()) {
    if (level.includes('#') && (level !== '#' || i < levels.length - 1))
      return { reason: '# that is not the last level by itself', clause: '[MQTT-4.7.1-2]' }
    if (level.includes('+') && level !== '+')
      return { reason: '+ that is not a level by itself', clause: '[MQTT-4.7.1-3]' }
  }
  return undefined
}

export const hasWildcard = (filter: string): boolean => filter.includes('+') || filter.includes('#')

/** A filter that begins with a wildcard matches no topic that begins with `$` [MQTT-4.7.2-1]. */
export const beginsWithWildcard = (filter: string): boolean => /^[+#]/.test(filter)

/**
 * Whether `pattern` matches every topic that `filter` matches. Since a topic name is a filter without wildcards, this
 * also tells whether a filter matches a topic.
 */
export const covers = (pattern: string, filter: string): boolean =>
  levelsCover(pattern.split('/'), filter.split('/'))

/** `covers` for a pattern and a filter that are already split into levels. */
export function levelsCover(pattern: readonly string[], filter: readonly string[]): boolean {
  for (const [i, level] of pattern.entries()) {
    // `#` also matches the parent level [MQTT-4.7.1-2].
    if (level === '#') return filter[0]?.startsWith('$') !== true || i > 0
    const other = filter[i]
    if (other === undefined || other === '#') return false
    if (level === '+' ? i === 0 && other.startsWith('$') : level !== other) return false
  }
  return filter.length === pattern.length
}

const SHARED = /^\$share\/[^/+#]+\/(.+)$/s

/** @returns the topic filter of a shared subscription (MQTT 5, 4.8.2); undefined if the filter is not shared */
export const sharedFilter = (filter: string): string | undefined => SHARED.exec(filter)?.[1]
