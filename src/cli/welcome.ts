import { isIPv6 } from 'node:net'

interface Place {
  readonly host: string
  readonly port: number
}

export interface WelcomeOptions {
  readonly http: Place | undefined
  readonly mqtt: Place | undefined
  readonly mqtts: Place | undefined
  readonly dataDir: string
  /** Whether the HTTP port has TLS. */
  readonly hasTls: boolean
}

const DEFAULT_PORT = 8080

/** The same for a supervisor, in one line. */
export function status({ http, mqtt, mqtts, hasTls }: WelcomeOptions): string {
  const urls = [
    http && url(hasTls ? 'https' : 'http', http),
    mqtt && url('mqtt', mqtt),
    mqtts && url('mqtts', mqtts),
  ]
  return `serving ${urls.filter(Boolean).join(' ')}`
}

/** What a person wants to know when the gateway is ready: where it is, where the data lies, and what to type now. */
export function welcome({ http, mqtt, mqtts, dataDir, hasTls }: WelcomeOptions): string {
  const lines = [
    ['open', http && url(hasTls ? 'https' : 'http', http)],
    ['MQTT', [mqtt && url('mqtt', mqtt), mqtts && url('mqtts', mqtts)].filter(Boolean).join('  ')],
    ['data', dataDir],
    ['type', http && `npx mumi chat ${server(http, hasTls)}ann@example.com`],
  ] as const
  const shown = lines.filter(([, text]) => text).map(([name, text]) => `  ${name}  ${text}\n`)
  return `\nMumiChat Gateway is ready. Ctrl-C stops it.\n\n${shown.join('')}\n`
}

/** An address that a client on this machine can use. */
function url(scheme: string, { host, port }: Place): string {
  const near = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  return `${scheme}://${isIPv6(near) ? `[${near}]` : near}:${port}`
}

/** The chat finds a gateway at the default address by itself. */
function server(http: Place, hasTls: boolean): string {
  const isDefault = !hasTls && http.port === DEFAULT_PORT && /^(127\.0\.0\.1|0\.0\.0\.0)$/.test(http.host)
  return isDefault ? '' : `--server ${url(hasTls ? 'wss' : 'ws', http)} `
}
