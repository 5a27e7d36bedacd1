/**
 * Wills [MQTT-3.1.2-8]. CONNECT checks that the client may publish its will (`mayLeave`) and stores it before
 * CONNACK, and it is published once: when the connection ends without DISCONNECT, or by the next start where the process
 * died before. A will is removed from the store only after it was published.
 */
import type { Principal } from '../auth/authenticate.js'
import { toGatewayError } from '../core/errors.js'
import { Deadlines } from '../flow/deadlines.js'
import { Receipt } from './acknowledgements.js'
import { userIdOf } from './acl/client-id.js'
import type { MqttConnection } from './connection.js'
import type { Connections } from './connections.js'
import { type BrokerParts, logStoreFault } from './parts.js'
import { Publisher } from './publish.js'
import type { StoredWill } from './stored-will.js'
import type { ConnectPacket } from './wire/connect-packet.js'
import { REASON } from './wire/reason-codes.js'

/** What CONNECT says of the will, and who left it. */
export interface LeftWill {
  /** As the client sent it. */
  readonly clientId: string
  readonly will: NonNullable<ConnectPacket['will']>
  /** undefined for an anonymous client. */
  readonly who: Principal | undefined
}

/** Whether the client may publish to the topic of its will; logs it if not. */
export function mayLeave(
  { access, services }: BrokerParts,
  { remoteAddress }: MqttConnection,
  { clientId, will, who }: LeftWill,
): boolean {
  const userId = who?.user.id
  const grantee = who && { clientId, role: who.login.role }
  if (access.publish(userId, will.topic, grantee).kind !== 'refused') return true
  const refused = { event: 'will.refused', userId, device: clientId, remoteAddress }
  services.log.info(refused, 'CONNECT refused: may not publish to the topic of its will')
  return false
}

/** Notes in a will by which stored login it was left. */
export function storedWill(
  { id: clientId }: MqttConnection,
  will: LeftWill['will'],
  who: Principal | undefined,
): StoredWill {
  const isStored = who?.login.kind === 'token' || who?.login.role === 'device'
  const session = isStored ? { session: who.login.id } : {}
  const { topic, payload, qos, retain } = will
  const { block, properties } = 'block' in will ? will : {}
  const { willDelayInterval: delaySeconds, messageExpiryInterval } = properties ?? {}
  return {
    cmd: 'publish',
    topic,
    payload,
    qos,
    retain,
    dup: false,
    messageId: undefined,
    clientId,
    ...session,
    ...(block?.length && { block }),
    ...(delaySeconds && { delaySeconds }),
    ...(messageExpiryInterval !== undefined && { properties: { messageExpiryInterval } }),
  }
}

export class Wills {
  /** Wills that are being published, by their scoped client id: of each the last. */
  readonly #publishing = new Map<string, Promise<void>>()

  /** Wills whose delay has not passed, by their scoped client id. */
  readonly #delayed = new Deadlines(scoped => {
    this.connections
      .inOrder(scoped, () => this.#due(scoped))
      .catch(thrown => logStoreFault(this.parts, 'publishWill', thrown))
  })

  constructor(
    private readonly parts: BrokerParts,
    private readonly connections: Connections,
  ) {}

  /**
   * At start: wills of clients that were connected when the process died, before one of them is back. Later: those that
   * could not be published then, because the store failed.
   */
  async publishStored(): Promise<void> {
    const { state } = this.parts
    for await (const will of state.streamWill({ [state.broker.id]: true }) as AsyncIterable<StoredWill>) {
      const at = will.dueAt ?? (will.delaySeconds ? Date.now() + will.delaySeconds * 1000 : 0)
      if (at > Date.now()) this.#delayed.set(will.clientId, at)
      else await this.#publishNow(will)
    }
  }

  async #publishNow(will: StoredWill): Promise<void> {
    const error = (await this.#isVoid(will))
      ? undefined
      : await this.#outcomeOf(receipt => this.publishAbsent(will, receipt))
    if (error) logStoreFault(this.parts, 'publishWill', error)
    else await this.parts.state.delWill({ id: will.clientId })
  }

  /** The delay of a will has passed, or its session has ended. */
  async #due(scoped: string): Promise<void> {
    const will = await this.parts.state.getWill({ id: scoped })
    if (will !== undefined) await this.#publishNow(will as StoredWill)
  }

  /**
   * The client is back: a will that is delayed is dropped if the session goes on, and published if it begins anew
   * [MQTT-3.1.3-9].
   */
  async back(scoped: string, { goesOn }: { readonly goesOn: boolean }): Promise<void> {
    const at = this.#delayed.delete(scoped)
    if (at === undefined) return
    if (goesOn && at > Date.now()) await this.parts.state.delWill({ id: scoped })
    else await this.#due(scoped)
  }

  close(): void {
    this.#delayed.close()
  }

  /** Publishes a will whose client is not connected. */
  publishAbsent(will: StoredWill, receipt: Receipt): void {
    const { clientId } = will
    const userId = userIdOf(clientId)
    const permissions =
      userId === undefined ? undefined : this.parts.services.authenticator.since().permissions(userId)
    const author = { userId, grantee: this.connections.granteeOf(clientId), permissions }
    new Publisher(this.parts, author).publish(will, receipt)
  }

  /** The connection has ended: publishes its will, unless the client sent DISCONNECT [MQTT-3.1.2-10]. */
  connectionEnded(connection: MqttConnection): void {
    const { id, will } = connection
    if (will === undefined) return
    const done = this.#publish(connection, will)
    this.#publishing.set(id, done)
    void done.then(() => {
      if (this.#publishing.get(id) === done) this.#publishing.delete(id)
    })
  }

  /** Resolves when the session's last will, if it is being published, is published and removed. Never rejects. */
  async published(scoped: string): Promise<void> {
    await this.#publishing.get(scoped)
  }

  /** The same of all clients. */
  async settled(): Promise<void> {
    await Promise.all(this.#publishing.values())
  }

  /**
   * Never rejects. Where the store fails the will stays, and the next start publishes it; where the login was revoked it
   * is removed.
   */
  async #publish(connection: MqttConnection, will: StoredWill): Promise<void> {
    const { hasDisconnected } = connection.transport
    const isLeft = hasDisconnected && connection.leftFor === REASON.SUCCESS
    const delaySeconds = Math.min(will.delaySeconds ?? 0, connection.expirySeconds ?? 0)
    if (!isLeft && delaySeconds > 0) return this.#delay(will, delaySeconds)
    const error = isLeft ? undefined : await this.#outcomeOf(receipt => connection.publish(will, receipt))
    const isRevoked = error && toGatewayError(error).kind === 'ERROR_UNAUTHORIZED'
    if (error && !isRevoked) logStoreFault(this.parts, 'publishWill', error)
    else await this.parts.state.delWill(connection)
  }

  /** Stores when the will is due: the delay goes on over a restart. */
  async #delay(will: StoredWill, delaySeconds: number): Promise<void> {
    const { clientId: id } = will
    const dueAt = Date.now() + delaySeconds * 1000
    this.#delayed.set(id, dueAt)
    const absent = { id, closed: false }
    try {
      await this.parts.state.putWill(absent, { ...will, dueAt })
    } catch (thrown) {
      logStoreFault(this.parts, 'publishWill', thrown)
    }
    absent.closed = true
  }

  /** Its account is disabled; or the login was revoked, and the process died before the connection had ended. */
  async #isVoid({ clientId, session }: StoredWill): Promise<boolean> {
    const { accounts, logins } = this.parts.services
    const userId = userIdOf(clientId)
    if (userId === undefined) return false
    const user = await accounts.find(userId)
    if (user?.disabledAt !== undefined) return true
    return session !== undefined && !(await logins.has(userId, session))
  }

  /** @returns why it could not be published, if so */
  #outcomeOf(publish: (receipt: Receipt) => void): Promise<Error | null> {
    const { metrics } = this.parts
    return new Promise(resolve => {
      publish(new Receipt({ metrics, published: ({ error }) => resolve(error) }, 0, undefined, 0))
    })
  }
}
