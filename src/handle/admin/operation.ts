/** What operators do with the gateway as a whole. */
import { GatewayError } from '../../core/errors.js'
import type { User } from '../../core/model.js'
import type { AdminData } from '../../protocol/admin.js'
import type { Answer, Caller, LoggedIn } from '../context.js'
import { handleBroadcast } from '../message.js'
import type { Services } from '../services.js'
import { act, type Done, findAccount } from './act.js'

/** Accounts looked through at a time for one with the role. */
const READ = 500

async function stats({ operation }: Services): Promise<Done> {
  return { data: await operation.stats() }
}

async function logLevel({ operation }: Services, { level }: AdminData<'log.level'>): Promise<Done> {
  return { data: { level: operation.logLevel(level) } }
}

async function backup({ operation }: Services, { file, files }: AdminData<'backup'>): Promise<Done> {
  const begun = performance.now()
  const made = await operation.backup(file, files)
  return { data: { file, ...made, seconds: Math.round(performance.now() - begun) / 1000 } }
}

async function reload({ operation }: Services): Promise<Done> {
  return { data: await operation.reload() }
}

async function drain({ operation }: Services, { spread }: AdminData<'drain'>): Promise<Done> {
  const begun = operation.drain(spread)
  return { data: begun, about: { count: begun.connections } }
}

/** Messages have a sender, so an operator's has the account that `from` names, or that of the oldest admin. */
async function broadcast(
  services: Services,
  { content, from }: AdminData<'broadcast.send'>,
  caller: Caller,
): Promise<Done> {
  const { id: userId } = from === undefined ? await oldestAdmin(services) : await findAccount(services, from)
  const login = { id: '', kind: 'password', role: 'admin', device: undefined, since: Date.now() } as const
  const sender: LoggedIn = { ...caller, userId, login }
  await new Promise<void>((resolve, reject) => {
    const answer: Answer = {
      ok: () => resolve(),
      stored: () => resolve(),
      refuse: reject,
      failed: reject,
    }
    Promise.resolve(handleBroadcast(services, sender, { data: { content }, id: undefined }, answer)).catch(
      reject,
    )
  })
  return { data: { from: userId }, about: { userId } }
}

/** @throws GatewayError BAD_FIELD */
async function oldestAdmin({ accounts, authenticator }: Services): Promise<User> {
  let after: string | undefined
  for (;;) {
    const page = await accounts.query({}, READ, after)
    const admin = page.find(user => authenticator.isAdmin(user))
    if (admin !== undefined) return admin
    if (page.length < READ)
      throw new GatewayError('BAD_FIELD', { field: 'from', reason: 'is missing, and there is no admin' })
    after = page.at(-1)?.id
  }
}

export const OPERATION_ACTS = {
  stats: act('stats', 'stats.read', stats),
  backup: act('backup', 'backup.made', backup),
  'log.level': act('log.level', 'log-level.changed', logLevel),
  drain: act('drain', 'gateway.drained', drain),
  reload: act('reload', 'config.reloaded', reload),
  'broadcast.send': act('broadcast.send', 'broadcast.sent', broadcast),
} as const
