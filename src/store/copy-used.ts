/**
 * What a store has that is used, MongoDB, into an embedded one that is empty and that nobody else has: for a backup. Such a
 * store has no snapshot, so each part is read when what it leads to cannot be missing from the parts behind it.
 */
import { GatewayError } from '../core/errors.js'
import type { User, UserId } from '../core/model.js'
import type { CopyableStore, Entries, Section } from './contents.js'
import { copyState, pages } from './copy.js'
import { SHARED_COLLECTIONS } from './store.js'

type Account = Entries['accounts']

/** Rows that one commit removes. */
const TRIM_CHUNK = 500
/** Accounts that handed an address on from one to the next while they were read. */
const MAX_CHAIN = 20

/**
 * Of what was acknowledged before the call, all is copied; of what is stored or removed meanwhile, some. The copy does not
 * contradict itself, except for the broker's state: that is read entry by entry while it changes.
 * @throws GatewayError
 */
export async function copyUsedStore(from: CopyableStore, to: CopyableStore): Promise<void> {
  const gone = await deletedAccounts(from)
  // Cursors before rows: none is beyond the end of its inbox. A device's write may be seen before that of its inbox, so
  // these are raised to where the devices are.
  await copySection(from, to, 'furthest', gone)
  for await (const { entries } of pages(from, 'devices')) await to.cursors.moveCursors(without(gone, entries))
  await copySection(from, to, 'rows', gone)
  await trim(from, to, gone)
  await copyState(from, to)
  for (const section of SHARED_COLLECTIONS) await copySection(from, to, section, gone)
  // Last: whoever has a row, cursor or login by now has an account, or was deleted.
  for await (const { entries } of pages(from, 'accounts')) await putAccounts(from, to, entries, gone)
}

/** Deleted before the copy begins: what is still there of them is being removed. */
async function deletedAccounts(store: CopyableStore): Promise<ReadonlySet<UserId>> {
  const gone = new Set<UserId>()
  for await (const { entries } of pages(store, 'accounts'))
    for (const { id, user } of entries) if (user === undefined) gone.add(id)
  return gone
}

type Owned = { readonly userId: UserId } | { readonly inbox: UserId }

const without = <E extends Owned>(gone: ReadonlySet<UserId>, entries: readonly E[]): E[] =>
  entries.filter(entry => !gone.has('inbox' in entry ? entry.inbox : entry.userId))

async function copySection<S extends Exclude<Section, 'accounts'>>(
  from: CopyableStore,
  to: CopyableStore,
  section: S,
  gone: ReadonlySet<UserId>,
): Promise<void> {
  for await (const { entries } of pages(from, section))
    await to.contents().write(section, without<Entries[S]>(gone, entries))
}

/** An inbox that lost its first rows while they were read has a hole in the copy; all before it was removed by a limit. */
async function trim(from: CopyableStore, to: CopyableStore, gone: ReadonlySet<UserId>): Promise<void> {
  for await (const { entries } of pages(from, 'trimmed')) {
    const trimmed = without(gone, entries)
    for (const { userId, seq } of trimmed)
      while ((await to.inbox.trimInbox(userId, seq, TRIM_CHUNK)) === TRIM_CHUNK);
    await to.contents().write('trimmed', trimmed)
  }
}

/** One commit, unless an account has what another one had that was read before it: also on the same page. */
async function putAccounts(
  from: CopyableStore,
  to: CopyableStore,
  entries: readonly Account[],
  gone: ReadonlySet<UserId>,
): Promise<void> {
  let batch: Account[] = []
  const inBatch = new Set<string>()
  const put = async () => {
    await to.contents().write('accounts', batch)
    batch = []
    inBatch.clear()
  }
  for (const entry of entries) {
    const { user } = entry
    if (user !== undefined) {
      const names = [`@${user.emailKey}`, ...(user.username === '' ? [] : [user.username])]
      if (names.some(name => inBatch.has(name)) || (await holders(to, user)).length > 0) {
        await put()
        await freeNames(from, to, user, MAX_CHAIN)
      }
      for (const name of names) inBatch.add(name)
    }
    batch.push(entry)
  }
  await put()
  // Deleted meanwhile: some of what they had was copied.
  for (const { id, user } of entries) if (user === undefined && !gone.has(id)) await to.users.deleteUser(id)
}

type Named = Pick<User, 'id' | 'emailKey' | 'username'>

/** Other accounts of a store that have the address or user name of this one. */
async function holders({ users }: CopyableStore, { id, emailKey, username }: Named): Promise<User[]> {
  const named = username === '' ? [] : await users.findUsers({ username }, 1)
  return [...(await users.findUsers({ emailKey }, 1)), ...named].filter(held => held.id !== id)
}

/** Who is in the copy with the address or user name of this account has given it up since. */
async function freeNames(
  from: CopyableStore,
  to: CopyableStore,
  wanted: Named,
  chain: number,
): Promise<void> {
  for (const { id } of await holders(to, wanted)) {
    const now = await from.users.findUser(id)
    if (now === undefined) {
      await to.users.deleteUser(id)
      continue
    }
    const isSameName = now.username !== '' && now.username === wanted.username
    if (chain === 0 || now.emailKey === wanted.emailKey || isSameName)
      throw new GatewayError('STORE_UNAVAILABLE', {
        reason: 'addresses or user names of accounts change too fast: try again',
      })
    await freeNames(from, to, now, chain - 1)
    const { email, emailKey, username } = now
    await to.users.changeUser(id, { address: { email, emailKey }, username })
  }
}
