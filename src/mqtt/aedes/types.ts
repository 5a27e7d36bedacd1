/** Aedes' types for the rest of mqtt/, which must not import the package. */
export type { AedesPublishPacket, AuthenticateError, Client, PublishPacket, Subscription } from 'aedes'
