import { EXIT_USAGE } from './exit-codes.js'

export const HELP = `Usage: mumi <command> [--config FILE]... [--section.key VALUE]...

Commands:
  serve               run the gateway until SIGTERM or SIGINT
  config              print the effective config as JSON, secrets masked
  config --docs       print the table of all keys
  config --defaults   print a commented config file with all defaults
  check               say whether config and store are good, changing nothing; exit code 0 or 1
  copy --from TYPE --to TYPE
                      copy one store (embedded, mongodb) into another that is empty, and compare them;
                      no gateway may be running on either; started again, it goes on where it was
  keys rotate [--now]
                      a new key signs tokens; with --now those that were signed before are void at once,
                      else they are good until they expire; the gateway of this store may not be running
  keys show           the key of the greeting, which clients of encrypted packets note (docs/encryption.md)
  keys rotate --greeting
                      another one, for good; as above, no gateway may be running on the store
  chat [--server URL] EMAIL [NAME]
                      talk in this terminal, with NAME at first; asks for the password, makes the account if
                      there is none; the server is CHAT_URL, or ws://127.0.0.1:8080
  chat [--server URL] --id EMAIL
                      print the id of a user

Commands for operators (docs/operations.md), each with --help and --json:
  user                list, show, create, rename, disable, enable, delete, reset-password, verify,
                      second-factor, grant, revoke-role
  export USER [FILE]  everything that is stored of a person, as lines of JSON
  delete USER         an account with all that it has, for good
  sessions            list, kick
  inbox               show, purge: what waits for a user, and its removal
  trace ID            where a message is: stored, sent, confirmed
  admin-token         create, list, revoke: tokens for these commands over HTTP
  stats               counts of the running gateway
  log-level           print or set it
  backup FILE         a whole copy of the store in one file, while the gateway serves
  restore FILE        a store made of such a file
  verify              reads a whole store that no gateway has open, and says what contradicts itself
  compact             makes the file of a store that no gateway has open small again
  reload              reads the config again, as SIGHUP does
  drain               sends clients away one after the other, and then ends the gateway
  broadcast           a message to everybody who is online
  invite              create, list, revoke: codes by which people may register
  import mumichat     the accounts of the old MumiChat server, from its database or app.ini
  completion          a script that completes commands in bash, zsh or fish

Options:
  --config FILE       JSON, JSON5, YAML, TOML or the old server's app.ini, by its
                      ending; may be repeated, later wins
  --section.key VALUE
                      one config key, for example --http.port 9000
  -h, --help          this text
  -v, --version       the version

Environment: MUMI_SECTION_KEY, for example MUMI_HTTP_PORT=9000.
Order: defaults, files, environment, command line.
`

export function printHelp(): void {
  process.stdout.write(HELP)
}

/** @param name the unknown command; undefined if none was given */
export function printUsage(name: string | undefined): void {
  process.stderr.write(name === undefined ? HELP : `mumi: unknown command '${name}'; see mumi --help\n`)
  process.exitCode = EXIT_USAGE
}
