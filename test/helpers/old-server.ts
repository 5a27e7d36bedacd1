/** Databases as the old MumiChat server made them, and others. */
import { createHash } from 'node:crypto'
import start from '@sqlite.org/sqlite-wasm'

/** Once a process: see src/import/sqlite.ts. */
const loading = start()

/** What gorm made of the old server's User. */
export const OLD_SCHEMA =
  'CREATE TABLE "user" ("user_id" varchar(255),"username" varchar(255),"email" varchar(255),"password" varchar(255),' +
  '"first_name" varchar(255),"last_name" varchar(255),"profile_image" varchar(255),"key" varchar(255),"is_login" bool )'

export interface OldUserRow {
  readonly id?: unknown
  readonly username?: unknown
  readonly email?: unknown
  /** In clear. */
  readonly password?: string
  /** Instead of `password`: what is in the column. */
  readonly hash?: unknown
  readonly firstName?: unknown
  readonly lastName?: unknown
  readonly image?: unknown
  readonly key?: unknown
}

/** SHAKE-256, 64 bytes, base64; nothing for an empty password. */
export const oldHash = (password: string): string =>
  password === '' ? '' : createHash('shake256', { outputLength: 64 }).update(password).digest('base64')

/** @returns the bytes of a database in which these statements were run */
export async function database(...statements: readonly string[]): Promise<Uint8Array> {
  const { capi, oo1 } = await loading
  const db = new oo1.DB()
  for (const statement of statements) db.exec(statement)
  const bytes = capi.sqlite3_js_db_export(db)
  db.close()
  return bytes
}

/** The old server's database with these rows. */
export async function oldDatabase(rows: readonly OldUserRow[], schema = OLD_SCHEMA): Promise<Uint8Array> {
  const { capi, oo1 } = await loading
  const db = new oo1.DB()
  db.exec(schema)
  for (const { id, username = '', email, password = '', hash = oldHash(password), ...rest } of rows) {
    const { firstName = 'Eric', lastName = 'Chen', image = '', key = '' } = rest
    const bind = [id, username, email, hash, firstName, lastName, image, key, 0]
    db.exec({ sql: 'INSERT INTO user VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)', bind: bind as string[] })
  }
  const bytes = capi.sqlite3_js_db_export(db)
  db.close()
  return bytes
}
