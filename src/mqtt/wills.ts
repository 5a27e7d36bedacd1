/**
 * Wills [MQTT-3.1.2-8]. CONNECT checks that the client may publish its will (`mayLeave`) and stores it before
 * CONNACK, and it is published once: when the connection ends without DISCONNECT, or by the next start where the process
 * died before. A will is removed from the store only after it was published.
 */
import type { Principal } from '../auth/authenticate.js'
import { toGatewayError } from '../core/errors.js'
import { userIdOf } from './acl/client-id.js'
import type { MqttConnection } from './connection.js'
import type { Connections } from './connections.js'
import { type BrokerParts, logStoreFault } from './parts.js'
import { Publisher } from './publish.js'
import type { StoredWill } from './stored-will.js'
import type { Will } from './wire/connect-rules.js'
import type { Done } from './wire/socket-output.js'

/** What CONNECT says of the will, and who left it. */
export interface LeftWill {
  /** As the client sent it. */
  readonly clientId: string
  readonly will: Will
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
  will: Will,
  who: Principal | undefined,
): StoredWill {
  const isStored = who?.login.kind === 'token' || who?.login.kind === 'device'
  const session = isStored ? { session: who.login.id } : {}
  return { cmd: 'publish', ...will, dup: false, messageId: undefined, clientId, ...session }
}

export class Wills {
  /** Wills that are being published, by their scoped client id: of each the last. */
  readonly #publishing = new Map<string, Promise<void>>()

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
      const error = (await this.#isOfEndedLogin(will))
        ? undefined
        : await outcomeOf(done => this.publishAbsent(will, done))
      if (error) logStoreFault(this.parts, 'publishWill', error)
      else await state.delWill({ id: will.clientId })
    }
  }

  /** Publishes a will whose client is not connected. @param done see Publisher.publish */
  publishAbsent(will: StoredWill, done: Done): void {
    const { clientId } = will
    const userId = userIdOf(clientId)
    const permissions =
      userId === undefined ? undefined : this.parts.services.authenticator.since().permissions(userId)
    const author = { userId, grantee: this.connections.granteeOf(clientId), permissions }
    new Publisher(this.parts, author).publish(will, done)
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
    const error = hasDisconnected ? undefined : await outcomeOf(done => connection.publish(will, done))
    const isRevoked = error && toGatewayError(error).kind === 'ERROR_UNAUTHORIZED'
    if (error && !isRevoked) logStoreFault(this.parts, 'publishWill', error)
    else await this.parts.state.delWill(connection)
  }

  /** The login was revoked, and the process died before the connection had ended. */
  async #isOfEndedLogin({ clientId, session }: StoredWill): Promise<boolean> {
    const userId = userIdOf(clientId)
    if (session === undefined || userId === undefined) return false
    return !(await this.parts.services.logins.has(userId, session))
  }
}

const outcomeOf = (publish: (done: Done) => void) =>
  new Promise<Error | null | undefined>(resolve => publish(resolve))
