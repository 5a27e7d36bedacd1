/** Blocks of MQTT 5 properties that clients send: checked, and read as values. */
import { checkTextAt, Fields, MalformedPacket } from './packet-rules.js'
import {
  type Form,
  fault,
  mayClientSay,
  mayStandIn,
  PROPERTIES,
  type Properties,
  type PropertyName,
  type PropertyRow,
  type PropertyValue,
  type UserProperty,
} from './property-table.js'

/** Passes over a value. @throws MalformedPacket if it has not the form */
const SKIP: Readonly<Record<Form, (fields: Fields, what: string) => void>> = {
  flag: (fields, what) => {
    if (fields.byte() > 1) throw fault(`${what} that is not 0 or 1`, '(MQTT 5, 2.2.2.2)')
  },
  uint16: fields => fields.uint16(),
  uint32: fields => fields.uint32(),
  varint: fields => fields.varint(),
  text: skipText,
  data: fields => fields.skipData(),
  pair: (fields, what) => {
    skipText(fields, what)
    skipText(fields, what)
  },
}

function skipText(fields: Fields, what: string): void {
  const start = fields.skipData()
  checkTextAt(fields.bytes, start, fields.at, what)
}

/** Reads a value that was checked. */
const READ: Readonly<Record<Form, (fields: Fields) => PropertyValue>> = {
  flag: fields => fields.byte(),
  uint16: fields => fields.uint16(),
  uint32: fields => fields.uint32(),
  varint: fields => fields.varint(),
  text: fields => fields.data().toString(),
  data: fields => fields.data(),
  pair: fields => [fields.data().toString(), fields.data().toString()],
}

/**
 * Checks the block of properties of a packet from a client, and passes over it. Makes nothing of it: a packet of 1 MiB may
 * have 200,000 user properties.
 * @param packet first byte of the packet that the block stands in, or WILL
 * @throws MalformedPacket
 */
export function checkProperties(fields: Fields, packet: number): void {
  const block = fields.block()
  if (block.done) return
  let seen = 0
  let seenAbove31 = 0
  while (!block.done) {
    const row = rowOf(block.varint(), packet)
    if (row.form !== 'pair') {
      const mask = 1 << (row.id & 31)
      if ((row.id < 32 ? seen : seenAbove31) & mask) throw fault(`${row.name} twice`, '(MQTT 5, 2.2.2.2)')
      if (row.id < 32) seen |= mask
      else seenAbove31 |= mask
    }
    checkValue(block, row)
  }
  if (seen & AUTHENTICATION_DATA && !(seen & AUTHENTICATION_METHOD))
    throw fault('authentication data without a method', '(MQTT 5, 3.1.2.11.10)')
}

const AUTHENTICATION_METHOD = 1 << 21
const AUTHENTICATION_DATA = 1 << 22

function checkValue(block: Fields, { form, name, check }: PropertyRow): void {
  const { at } = block
  SKIP[form](block, name)
  check?.(READ[form](new Fields(block.bytes, at, block.at)))
}

function rowOf(id: number, packet: number): PropertyRow {
  const row = PROPERTIES.get(id)
  if (row === undefined || !mayStandIn(row, packet))
    throw new MalformedPacket(`property ${id} that the packet does not have`, '(MQTT 5, 2.2.2.2)')
  if (!mayClientSay(row, packet))
    throw fault(`${row.name} from a client`, '[MQTT-3.3.4-6] (MQTT 5, 3.14.2.2.5)')
  return row
}

const NONE: Properties = Object.freeze({})

/** While a block is read. */
type Read = Partial<Record<PropertyName, unknown>>

/** Checks and reads a block. @returns values that may refer to the packet's bytes */
export function readProperties(fields: Fields, packet: number): Properties {
  const { at } = fields
  checkProperties(fields, packet)
  return propertiesOf(new Fields(fields.bytes, at, fields.at).block())
}

/** @param block that was checked @returns values that may refer to its bytes */
export function propertiesOf(block: Fields): Properties {
  if (block.done) return NONE
  const properties: Read = {}
  while (!block.done) {
    const { form, name } = PROPERTIES.get(block.byte()) as PropertyRow
    const value = READ[form](block)
    if (form === 'pair') addUserProperty(properties, value as UserProperty)
    else properties[name] = value
  }
  return properties as Properties
}

function addUserProperty(properties: Read, pair: UserProperty): void {
  const pairs = properties.userProperties as UserProperty[] | undefined
  if (pairs === undefined) properties.userProperties = [pair]
  else pairs.push(pair)
}

/** The properties of a message but for its user properties, which may be many and go on as bytes. */
export type MessageProperties = Omit<Properties, 'userProperties'>

/** @param block that was checked */
export function messagePropertiesOf(block: Fields): MessageProperties {
  if (block.done) return NONE
  const properties: Read = {}
  while (!block.done) {
    const { form, name } = PROPERTIES.get(block.byte()) as PropertyRow
    if (form !== 'pair') properties[name] = READ[form](block)
    else {
      block.skipData()
      block.skipData()
    }
  }
  return properties as MessageProperties
}

/** @param block that was checked @returns the value of the first user property with this name */
export function userPropertyOf(block: Buffer, wanted: string): string | undefined {
  const fields = new Fields(block, 0, block.length)
  while (!fields.done) {
    const { form } = PROPERTIES.get(fields.byte()) as PropertyRow
    if (form !== 'pair') {
      SKIP[form](fields, '')
      continue
    }
    const start = fields.skipData()
    const isWanted = block.toString('utf8', start, fields.at) === wanted
    const valueStart = fields.skipData()
    if (isWanted) return block.toString('utf8', valueStart, fields.at)
  }
  return undefined
}
