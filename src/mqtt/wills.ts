/**
 * Wills [MQTT-3.1.2-8]. CONNECT checks that the client may publish its will (`mayLeaveWill`), Aedes stores it before
 * CONNACK, and it is published once: when the connection ends without DISCONNECT, or by the next start where the process
 * died before. A will is removed from the store only after it was published.
 */
import { toGatewayError } from '../core/errors.js'
import { userIdOf } from './acl/client-id.js'
import type { AedesClient } from './aedes/client.js'
import type { AedesPublishPacket } from './aedes/types.js'
import type { Connections } from './connections.js'
import { type BrokerParts, logStoreFault } from './parts.js'
import { type Author, Publisher } from './publish.js'
import type { Done } from './wire/socket-output.js'

/** A will as it is stored: whose it is, and by which stored login (token or credential) its client was let in. */
type StoredWill = AedesPublishPacket & { readonly clientId: string; readonly session?: string }

/** Whether the client may publish to the topic of its will. */
export const mayLeaveWill = (
  { access }: BrokerParts,
  { topic }: { readonly topic: string },
  author: Author,
) => access.publish(author.userId, topic, author.grantee).kind !== 'refused'

export class Wills {
  /** Wills that are being published, by their client. */
  readonly #publishing = new Map<AedesClient, Promise<void>>()

  constructor(
    private readonly parts: BrokerParts,
    private readonly connections: Connections,
  ) {}

  /** At start: wills of clients that were connected when the process died, before one of them is back. */
  async publishStored(): Promise<void> {
    const { state } = this.parts
    for await (const will of state.streamWill() as AsyncIterable<StoredWill>) {
      const error = (await this.#isOfEndedLogin(will))
        ? undefined
        : await outcomeOf(done => this.publishAbsent(will, done))
      if (error) logStoreFault(this.parts, 'publishWill', error)
      else await state.delWill({ id: will.clientId })
    }
  }

  /** Publishes a will whose client is not connected. @param done see Publisher.publish */
  publishAbsent(will: AedesPublishPacket, done: Done): void {
    const { clientId = '' } = will as Partial<StoredWill>
    const userId = userIdOf(clientId)
    const permissions =
      userId === undefined ? undefined : this.parts.services.authenticator.since().permissions(userId)
    const author = { userId, grantee: this.connections.granteeOf(clientId), permissions }
    new Publisher(this.parts, author).publish(will, done)
  }

  /** The connection has ended: publishes its will, unless the client sent DISCONNECT [MQTT-3.1.2-10]. */
  connectionEnded(client: AedesClient, will: AedesPublishPacket): void {
    const done = this.#publish(client, will)
    this.#publishing.set(client, done)
    void done.then(() => this.#publishing.delete(client))
  }

  /** Resolves when the client's will, if one is being published, is published and removed. Never rejects. */
  async published(client: AedesClient): Promise<void> {
    await this.#publishing.get(client)
  }

  /** The same of all clients. */
  async settled(): Promise<void> {
    await Promise.all(this.#publishing.values())
  }

  /**
   * Never rejects. Does not call back to Aedes, which would remove the will without waiting for it. Where the store fails
   * the will stays, and the next start publishes it; where the login was revoked it is removed.
   */
  async #publish(client: AedesClient, will: AedesPublishPacket): Promise<void> {
    const connection = this.connections.of(client)
    const { hasDisconnected } = connection.transport
    const error = hasDisconnected ? undefined : await outcomeOf(done => connection.publish(will, done))
    const isRevoked = error && toGatewayError(error).kind === 'ERROR_UNAUTHORIZED'
    if (error && !isRevoked) logStoreFault(this.parts, 'publishWill', error)
    else await this.parts.state.delWill(client)
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
