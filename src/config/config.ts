/**
 * The effective config: defaults, overridden by files, then the environment, then the command line. All faults are
 * reported at once.
 */
import convict from 'convict'
import type { Warn } from './old-server.js'
import { type Config, KEYS, SCHEMA } from './schema.js'
import { type Layer, readArguments, readConfigFile, readEnvironment } from './sources.js'

export type { Config } from './schema.js'

export interface ConfigSources {
  /** The words after the command: `--section.key value`, and `--config FILE`, which may be repeated. */
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  /** Whether a gateway runs in this process: then only regular files are read. */
  readonly isRunning?: boolean
  /** Called with a line for each key that has no effect. */
  readonly warn?: (line: string) => void
}

/** Faults of a config, one line each: the key, the fault, and where the value was set. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  constructor(readonly faults: readonly string[]) {
    super(faults.join('\n'))
  }
}

/** @throws ConfigError */
export function loadConfig(sources: ConfigSources): Config {
  // `Config` derives from the schema against which convict has checked every value.
  return deepFreeze(resolve(sources).getProperties()) as unknown as Config
}

/** The files that are named by `--config`. */
export const configFiles = ({ argv }: ConfigSources): readonly string[] => readArguments(argv, []).files

/** The effective config as JSON that `--config` accepts. Secrets are masked. @throws ConfigError */
export function printConfig(sources: ConfigSources): string {
  return JSON.stringify(masked(resolve(sources).getProperties(), ''), null, 2)
}

/** Masks secrets, unless they are the default. */
function masked(value: unknown, name: string): unknown {
  const key = KEYS.get(name)
  if (key !== undefined) return key.sensitive && value !== key.default ? '[Sensitive]' : value
  const parts = Object.entries(value ?? {})
  return Object.fromEntries(
    parts.map(([part, one]) => [part, masked(one, name === '' ? part : `${name}.${part}`)]),
  )
}

function resolve({
  argv,
  env,
  isRunning = false,
  warn = () => undefined,
}: ConfigSources): convict.Config<object> {
  const faults: string[] = []
  const { files, layer } = readArguments(argv, faults)
  const warnings: Parameters<Warn>[] = []
  const take: Warn = (...warning) => warnings.push(warning)
  const read = files.map(file => readConfigFile(file, faults, isRunning, take))
  const layers = [...read, readEnvironment(env, faults), layer]
  for (const [line, unlessSet = ''] of warnings)
    if (!layers.some(({ values }) => values.has(unlessSet))) warn(line)
  // convict gets no env and args: it would ignore unknown ones, and convert `--data.dir 1e3` to 1000.
  const settings = convict<object>(SCHEMA, { env: {}, args: [] })
  for (const { values } of layers) for (const [key, value] of values) settings.set(key, value)
  faults.push(...valueFaults(settings, layers))
  if (faults.length === 0) faults.push(...crossFaults(settings.getProperties() as unknown as Config))
  if (faults.length > 0) throw new ConfigError(faults)
  return settings
}

/** convict lists invalid values in lines that begin with the key. Adds where each value was set. */
function valueFaults(settings: convict.Config<object>, layers: readonly Layer[]): string[] {
  try {
    settings.validate({ allowed: 'strict' })
    return []
  } catch (error) {
    const lines = error instanceof Error ? error.message.split('\n') : [String(error)]
    return lines.map(withoutUrls).map(line => {
      const key = line.slice(0, line.indexOf(':'))
      const origin = layers.findLast(layer => layer.values.has(key))?.origin(key)
      return origin === undefined ? line : `${line} (${origin})`
    })
  }
}

/** Removes a value that is a URL, since one written for the wrong key may hold a password. */
const withoutUrls = (line: string) => line.replace(/: value was .*(@|:\/\/).*/s, '')

/** Checks keys that are valid by themselves but not together. */
function crossFaults(config: Config): string[] {
  const faults: string[] = []
  if (!config.http.enabled && !config.mqtt.enabled)
    faults.push('http.enabled, mqtt.enabled: one of them must be true')
  if (config.limits.frame <= config.limits.content)
    faults.push('limits.frame: must be larger than limits.content')
  if ((config.tls.cert === '') !== (config.tls.key === ''))
    faults.push('tls.cert, tls.key: both or none of them')
  if (config.limits.loginDelayMax < config.limits.loginDelay)
    faults.push('limits.loginDelayMax: must not be less than limits.loginDelay')
  if (config.tracing.otlp.url !== '' && !isHttpUrl(config.tracing.otlp.url))
    faults.push('tracing.otlp.url: must be a URL, http://… or https://…, with a port of at most 65535 if any')
  faults.push(...issuerFaults(config), ...adminFaults(config), ...mailFaults(config))
  return config.store.type === 'mongodb' ? [...faults, ...documentFaults(config)] : faults
}

const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|::1)$/

function adminFaults({ admin, tls }: Config): string[] {
  const isPlain = admin.http && !(admin.tls && tls.cert !== '') && !admin.plain
  return isPlain && !LOOPBACK.test(admin.host)
    ? ['admin.host: needs TLS (tls.cert, admin.tls), or admin.plain behind a proxy that has it']
    : []
}

/** The scheme may not stand alone: URL makes `http://host` of `http:host`. */
const isHttpUrl = (text: string): boolean => /^https?:\/\//i.test(text) && URL.canParse(text)

function isPlainUrl(text: string): boolean {
  if (!isHttpUrl(text)) return false
  const { username, password } = new URL(text)
  return username === '' && password === ''
}

function issuerFaults({ jwt }: Config): string[] {
  const { jwksUrl, publicKeyFile, issuer, audience } = jwt
  const faults: string[] = []
  if (jwksUrl !== '' && publicKeyFile !== '') faults.push('jwt.jwksUrl, jwt.publicKeyFile: only one of them')
  if (jwksUrl !== '' && !isPlainUrl(jwksUrl))
    faults.push('jwt.jwksUrl: must be a URL, https://… or http://…, without user and password')
  if ((jwksUrl !== '' || publicKeyFile !== '') && (issuer === '' || audience === ''))
    faults.push('jwt.issuer, jwt.audience: needed with jwt.jwksUrl or jwt.publicKeyFile')
  return faults
}

function mailFaults({ http, mail }: Config): string[] {
  const faults: string[] = []
  const { publicUrl } = http
  if (publicUrl !== '' && !(isPlainUrl(publicUrl) && /^[^?#]*[^?#/]$/.test(publicUrl)))
    faults.push('http.publicUrl: must be https://… or http://…, without user, query and slash at its end')
  if (mail.url === '') return faults
  const isSmtp = URL.canParse(mail.url) && /^smtps?:$/.test(new URL(mail.url).protocol)
  if (!isSmtp || new URL(mail.url).hostname === '') faults.push('mail.url: must be smtp://… or smtps://…')
  if (mail.from === '') faults.push('mail.from: needed with mail.url')
  return faults
}

/**
 * A MongoDB document has at most 16 MiB. JSON escapes make content up to six times longer, and a packet is stored in up
 * to four forms.
 */
const MAX_CONTENT_BYTES = 2 << 20
const MAX_PACKET_BYTES = 3 << 20

function documentFaults({ limits, mqtt }: Config): string[] {
  const faults: string[] = []
  if (limits.content > MAX_CONTENT_BYTES) faults.push('limits.content: at most 2MiB with store.type mongodb')
  if (mqtt.maxPacketBytes > MAX_PACKET_BYTES)
    faults.push('mqtt.maxPacketBytes: at most 3MiB with store.type mongodb')
  return faults
}

function deepFreeze<T extends object>(value: T): T {
  for (const part of Object.values(value)) if (typeof part === 'object' && part !== null) deepFreeze(part)
  return Object.freeze(value)
}
