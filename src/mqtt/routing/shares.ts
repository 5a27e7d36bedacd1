/** Shared subscriptions, `$share/<name>/<filter>` (MQTT 5, 4.8.2): of each group one connected member gets a packet. */
import { sharedFilter } from '../../core/topic-filter.js'
import { FilterIndex } from './filter-index.js'
import type { Route, Subscriber } from './route.js'

/** A route whose subscriber is connected. */
export type Member = Route & { readonly subscriber: Subscriber }

class Group {
  readonly members: Route[] = []
  /** Whose turn it is. */
  #turn = 0

  /**
   * The next member in turn that has room now; if none has, the next one, for which the packet waits.
   * @param except the client that had the packet before
   */
  next(topic: string, except: string | undefined): Member | undefined {
    const { members } = this
    let waiting: number | undefined
    for (let i = 0; i < members.length; i++) {
      const at = (this.#turn + i) % members.length
      const { subscriber } = members[at] as Route
      if (subscriber === undefined || subscriber.clientId === except || !subscriber.mayGet(topic)) continue
      if (subscriber.hasRoom) return this.#take(at)
      waiting ??= at
    }
    return waiting === undefined ? undefined : this.#take(waiting)
  }

  #take(at: number): Member {
    this.#turn = at + 1
    return this.members[at] as Member
  }
}

export class Shares {
  /** By the whole filter. */
  readonly #groups = new Map<string, Group>()
  /** By the topic filter behind the name. */
  readonly #index = new FilterIndex<Group>()

  add(share: string, route: Route): void {
    let group = this.#groups.get(share)
    if (group === undefined) {
      group = new Group()
      this.#groups.set(share, group)
      this.#index.add(sharedFilter(share) ?? '', group)
    }
    group.members.push(route)
  }

  remove(share: string, route: Route): void {
    const group = this.#groups.get(share)
    const at = group?.members.indexOf(route) ?? -1
    if (group === undefined || at < 0) return
    group.members.splice(at, 1)
    if (group.members.length > 0) return
    this.#groups.delete(share)
    this.#index.remove(sharedFilter(share) ?? '', group)
  }

  /** One member of each group whose filter matches, if any may get packets on this topic. */
  choose(topic: string): Member[] {
    const groups = [...this.#index.exactly(topic), ...this.#index.byWildcard(topic)]
    return groups.flatMap(group => group.next(topic, undefined) ?? [])
  }

  /** @param except the client that had the packet before */
  chooseOf(share: string, topic: string, except?: string): Member | undefined {
    return this.#groups.get(share)?.next(topic, except)
  }
}
