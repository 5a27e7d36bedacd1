/** A line-by-line chat in one terminal: joins screen, login, session and conversation. */
import { Conversation } from './conversation.js'
import { Link } from './link.js'
import { askPassword, type Credentials } from './login.js'
import { People, Refused } from './people.js'
import type { Screen } from './screen.js'
import { Session } from './session.js'
import { printable, refusal } from './words.js'

export interface ChatOptions {
  readonly url: URL
  readonly email: string
  /** To whom the lines go at first: what `/to` takes. */
  readonly partner: string | undefined
  readonly screen: Screen
}

/**
 * Talks until the input ends, the user leaves, or the server does not want them any more.
 * @returns whether all went well; from a pipe also, whether every line was done
 * @throws the error of the first connection, or Unfit
 */
export async function chat({ url, email, partner, screen }: ChatOptions): Promise<boolean> {
  const credentials = await askPassword(url, email, screen)
  if (credentials === undefined) return false
  const { session, conversation } = join(url, credentials, screen)
  const ending = session.run()
  void ending.then(() => screen.close())
  // A person leaves at once, also while the server does not answer. What a pipe said is sent first.
  if (screen.isInteractive) void screen.ended.then(() => session.close())
  // Each line waits for those before it; so does the end of the input.
  try {
    await talk(conversation, session, screen, partner)
  } catch (error) {
    if (!isLost(error)) throw error
  } finally {
    await session.close()
  }
  return (await ending) && (screen.isInteractive || !conversation.wasRefused)
}

const isLost = (error: unknown): boolean => error instanceof Error && error.name === 'LinkLost'

function join(url: URL, credentials: Credentials, screen: Screen) {
  const session: Session = new Session({
    url,
    credentials,
    events: {
      onMessage: (message, missedBefore) => conversation.show(message, missedBefore),
      onNotice: text => screen.print(text),
    },
  })
  const ask = session.ask.bind(session)
  const conversation = new Conversation({
    people: new People(ask),
    ask,
    print: text => screen.print(text),
    onTalkTo: name => screen.talkTo(name),
    userId: () => session.userId,
  })
  return { session, conversation }
}

async function talk(
  conversation: Conversation,
  session: Session,
  screen: Screen,
  partner: string | undefined,
): Promise<void> {
  const id = await session.userIdOnceIn()
  screen.print(`you are logged in; your id is ${id}. /help lists what you can type.`)
  await conversation.say('/who')
  if (partner !== undefined) await conversation.say(`/to ${partner}`)
  for (;;) {
    const line = await screen.readLine()
    if (line === undefined || !(await conversation.say(line))) return
  }
}

/**
 * The id of a user, asked for without a login.
 * @throws the error of the connection, or what the server says against it
 */
export async function idOf(url: URL, email: string): Promise<string> {
  const link = await Link.open(url)
  try {
    const [person] = await new People(request => link.ask(request)).find(email)
    if (person === undefined) throw new Error(`${printable(email)} is not here`)
    return person.id
  } catch (error) {
    throw error instanceof Refused ? new Error(refusal(error.reply)) : error
  } finally {
    link.close()
  }
}
