/** How topic filters are kept in tries of levels. */
export const TRIE = {
  wildcard_one: '+',
  wildcard_some: '#',
  separator: '/',
  match_empty_levels: true, // MQTT 3.1.1, 4.7.1.3: "/finance" matches "+/+" and "/+"
  // The default is 100; `mqtt.maxTopicLevels` bounds them before.
  max_words: Number.POSITIVE_INFINITY,
}
