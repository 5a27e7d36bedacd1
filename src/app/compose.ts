/** Makes the parts of a gateway and joins them. The only place that knows which concrete part each port gets. */
import { Accounts } from '../accounts/accounts.js'
import { HeldAddresses } from '../accounts/held-addresses.js'
import { Invites } from '../accounts/invites.js'
import { passwordCheck } from '../accounts/password-rules.js'
import type { Passwords } from '../accounts/passwords.js'
import { PendingDeletions } from '../accounts/pending-deletions.js'
import { UserNames } from '../accounts/user-names.js'
import { AdminTokens } from '../auth/admin-tokens.js'
import { Authenticator } from '../auth/authenticate.js'
import { ExternalTokens } from '../auth/external.js'
import { LoginLog } from '../auth/login-log.js'
import { Logins } from '../auth/logins.js'
import { Proofs } from '../auth/proofs.js'
import { Passkeys } from '../auth/second-factor/passkeys.js'
import { SecondFactors } from '../auth/second-factor/second-factors.js'
import { relyingParty, WebAuthn } from '../auth/second-factor/webauthn.js'
import { TokenKeys } from '../auth/token-keys.js'
import type { Config } from '../config/config.js'
import type { Audit } from '../core/audit.js'
import { Faults } from '../core/faults.js'
import type { Logger } from '../core/log.js'
import type { Metrics } from '../core/metrics.js'
import type { UserId } from '../core/model.js'
import type { Tracing } from '../core/tracing.js'
import type { HeldStorage } from '../files/held.js'
import type { UploadLogin } from '../files/uploads.js'
import { removeDue } from '../handle/account.js'
import type { HandlerRules, Operation, Services } from '../handle/services.js'
import { Pictures } from '../images/pictures.js'
import { ProfileImages } from '../images/profile-images.js'
import { Cursors } from '../inbox/cursors.js'
import { Inbox } from '../inbox/inbox.js'
import { MessageIds } from '../inbox/message-id.js'
import { Retention } from '../inbox/retention.js'
import { JsonServer } from '../json/server.js'
import type { Limits } from '../limits/limits.js'
import { LiveConnections } from '../live/live.js'
import type { Outbox } from '../mail/outbox.js'
import { MqttBroker } from '../mqtt/broker.js'
import type { Store } from '../store/store.js'
import { StoreWatch } from '../store/watch.js'
import { composeFiles } from './files.js'
import { greetingKey } from './greeting-key.js'
import { composeMail } from './mail.js'
import {
  brokerOptions,
  handlerRules,
  jsonOptions,
  keyOptions,
  loginRules,
  pictureOptions,
  retentionLimits,
  userNameRules,
} from './options.js'
import { Upkeep } from './upkeep.js'

/** What is there before the store is open. */
export interface Given {
  readonly config: Config
  readonly log: Logger
  readonly metrics: Metrics
  readonly limits: Limits
  readonly passwords: Passwords
  readonly audit: Audit
  /** undefined: messages are not traced. */
  readonly tracing?: Tracing | undefined
  readonly operation: (live: LiveConnections) => Operation
  /** Where browsers reach the pages; undefined: nowhere that could be told. */
  readonly baseUrl?: () => string | undefined
  /** The same of files, pictures and passkeys. */
  readonly filesUrl?: () => string | undefined
}

export interface Parts {
  /** Accounts that are admins by the config. */
  readonly admins: { current: ReadonlySet<UserId> }
  readonly services: Services
  readonly watch: StoreWatch
  readonly upkeep: Upkeep
  readonly outbox: Outbox
  readonly cursors: Cursors
  readonly inbox: Inbox
  readonly ids: MessageIds
  readonly retention: Retention
  /** The storage of files. */
  readonly heldFiles: HeldStorage
  readonly limits: Limits
  readonly json: JsonServer
  readonly broker: MqttBroker
}

/** @param store open @throws GatewayError, ConfigError */
export async function compose(given: Given, store: Store): Promise<Parts> {
  const { config, log, metrics, limits, audit } = given
  const cursors = new Cursors(store.cursors, log)
  const retention = new Retention(store, cursors, retentionLimits(config), metrics, log)
  const inbox = new Inbox(store.inbox, cursors, retention, metrics, log, config.inbox)
  inbox.tracing = given.tracing
  retention.start(() => inbox.touchAll())
  const ids = new MessageIds(store.kv)
  await ids.open()
  const rules = { ...handlerRules(config), publicUrl: () => given.filesUrl?.() ?? '' }
  const { keys, admins, outbox, names, ...identity } = await composeIdentity(given, store, rules)
  const pictures = new Pictures(pictureOptions(config))
  const { files, held: heldFiles } = await composeFiles(config, store, {
    accounts: identity.accounts,
    pictures,
    baseUrl: given.filesUrl ?? (() => undefined),
  })
  const live = new LiveConnections(config.sessions.multiple)
  live.onEnd((userId, which) => {
    const isEnded = (login: UploadLogin) =>
      which({ login: { kind: 'token', device: undefined, since: 0, ...login } })
    files.endLogins(userId, isEnded).catch(err => {
      log.error(
        { event: 'store.failed', operation: 'endLogins', userId, err },
        'uploads of a login not ended',
      )
    })
  })
  const services: Services = {
    ...identity,
    invites: new Invites(store.kv),
    adminTokens: new AdminTokens(store.kv),
    audit,
    live,
    inbox,
    retention,
    ids,
    limits,
    log,
    loginLog: new LoginLog(log, metrics, config.log.connections),
    rules,
    pictures,
    profileImages: new ProfileImages(store.shared, pictures, (userId, profileImage) =>
      identity.accounts.change(userId, { profileImage }),
    ),
    operation: given.operation(live),
    files,
  }
  const options = jsonOptions(config, await greetingKey(store.kv), new Faults(log, metrics).report)
  const json = new JsonServer(services, metrics, options)
  const broker = new MqttBroker(services, store.kv, metrics, brokerOptions(config))
  const { logins, proofs, held } = services
  const tended = [logins, proofs, held, names, { sweep: () => removeDue(services) }, files]
  return {
    admins,
    outbox,
    services,
    watch: new StoreWatch(store, log),
    upkeep: new Upkeep(keys, tended, audit, log),
    ids,
    cursors,
    inbox,
    retention,
    heldFiles,
    limits,
    json,
    broker,
  }
}

/**
 * Answers what was accepted, sends the clients away, and writes what waits; the store stays open.
 * @param graceMs how long JSON clients have for the closing handshake, ms
 */
export async function closeParts(parts: Parts, graceMs: number): Promise<void> {
  const { watch, upkeep, cursors, inbox, ids, retention, json, broker, services, outbox } = parts
  watch.stop()
  json.stopTaking()
  broker.stopTaking()
  await inbox.drained()
  await json.close(graceMs)
  await broker.close()
  await inbox.drained()
  services.pictures.close()
  await services.mail.idle()
  await outbox.close()
  await retention.close()
  await cursors.close()
  await ids.close()
  await upkeep.stop()
}

/** Who is who, what tends their logins, and what writes to them. */
async function composeIdentity(given: Given, store: Store, rules: HandlerRules) {
  const { config, log, passwords, audit } = given
  const { tokens, jwt, roles } = config
  const held = new HeldAddresses(store.kv)
  const names = new UserNames(store.users, store.shared, userNameRules(config))
  const accounts = new Accounts(store.users, passwords, await passwordCheck(config.passwords), held, names)
  const keys = new TokenKeys(store.kv, keyOptions(tokens))
  const isRotated = await keys.open()
  if (isRotated) audit.record({ event: 'keys.rotated' })
  const logins = new Logins(store.kv, keys, loginRules(tokens))
  const proofs = new Proofs(store.kv)
  const factors = new SecondFactors(store.users)
  const passkeys = new Passkeys(store.users, new WebAuthn(() => relyingParty(given.filesUrl?.())))
  accounts.onNewPassword(userId => factors.passwordChanged(userId))
  const external = ExternalTokens.isConfigured(jwt) ? new ExternalTokens(jwt) : undefined
  const admins = { current: new Set(roles.admins) as ReadonlySet<UserId> }
  const pendingDeletions = new PendingDeletions(store.kv, config.accounts.deletionGrace)
  const onKept = (userId: UserId) => {
    audit.record({ event: 'account.kept', userId })
    log.info({ event: 'account.kept', userId }, 'account not removed: its owner has logged in')
  }
  const authenticator = new Authenticator({
    ...{ accounts, logins, factors, passkeys, keys, external, pendingDeletions, onKept },
    admins: () => admins.current,
    isUnverifiedLetIn: () => rules.verify !== 'required',
  })
  const baseUrl = given.baseUrl ?? (() => undefined)
  const isUnverifiedTold = () => rules.verify === 'off'
  const { outbox, mail } = composeMail({
    ...{ ...given, store, accounts, proofs, held, baseUrl, isUnverifiedTold },
  })
  return {
    admins,
    accounts,
    names,
    logins,
    keys,
    pendingDeletions,
    authenticator,
    proofs,
    factors,
    passkeys,
    held,
    mail,
    outbox,
  }
}
