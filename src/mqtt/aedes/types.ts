/** What the rest of mqtt/ may name of Aedes' types. */
export type { AedesPublishPacket, AuthenticateError, Client, PublishPacket, Subscription } from 'aedes'
