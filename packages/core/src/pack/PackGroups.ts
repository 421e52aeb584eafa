/**
 * Which texts share a prompt. Texts that arrive within a short time are grouped. Where prompts go in batches, groups are
 * kept in the store: a row that is replayed, by this process or another one, finds its prompt again, and nothing is paid
 * twice.
 *
 * @internal
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Request from "effect/Request"
import * as RequestResolver from "effect/RequestResolver"
import * as SingleFlight from "../cache/SingleFlight.ts"
import * as CallContext from "../client/CallContext.ts"
import * as ContentHash from "../encoding/ContentHash.ts"
import type * as Varying from "../flow/Varying.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import * as TokenCounter from "../model/TokenCounter.ts"
import * as Lru from "../store/Lru.ts"
import * as Store from "../store/Store.ts"
import * as PackedPrompt from "./PackedPrompt.ts"
import type * as PackGroup from "./PackGroup.ts"
import type * as PackRepo from "./PackRepo.ts"

/** A text to be packed. */
export interface Packable {
  readonly request: ModelRequest.Completion
  readonly template: ModelRequest.Completion
  readonly text: string
  readonly pack: Varying.Pack
  readonly scope: PackGroup.PackScope
}

/** A text's place in a group, and what the group's prompt came to. */
export interface Place {
  readonly answer: Effect.Effect<PackedPrompt.PackedAnswer>
  /** Takes the answer for a row. Returns what gives it back, when it was not used; `undefined` when another row has it. */
  readonly take: (row: number) => (() => void) | undefined
}

/** A group in this process. */
interface Live {
  readonly group: PackGroup.PackGroup
  answers: ReadonlyArray<PackedPrompt.PackedAnswer> | undefined
  /** The rows that took the answers. */
  readonly taken: Map<number, number>
}

interface LivePlace {
  readonly live: Live
  readonly at: number
}

interface Gathering extends Request.Request<LivePlace> {
  readonly _tag: "Gathering"
  readonly packable: Packable
}

const Gathering = Request.tagged<Gathering>("Gathering")

/** Finds the place of a text. */
export interface PackGroups {
  /** In a group of this size. `isKept`: prompts go in batches, so groups are kept. */
  readonly placeOf: (packable: Packable, size: number, isKept: boolean) => Effect.Effect<Place>
}

export interface Options {
  readonly sender: PackedPrompt.Sender
  readonly repo: PackRepo.PackRepo
  /** The number of the run; 0 outside one. */
  readonly run: number
  readonly maxTokens: number
  readonly wait: Duration.Input
}

/** The most kept groups in memory. Others are read from the store. */
const LIVE = 10_000

export const make = (options: Options): PackGroups => {
  const kept = Lru.make<string, Live>(LIVE)
  const answersOf = answering(options.sender)
  const gathering = gatherer(options, closing())
  const keeping = gatherer(options, closingKept(options, kept))
  const find = finding(options, kept)

  const placeIn = ({ at, live }: LivePlace): Place => ({
    answer: Effect.map(answersOf(live), (answers) => answers[at]!),
    take: (row) => {
      if ((live.taken.get(at) ?? row) !== row) return undefined
      live.taken.set(at, row)
      return () => void live.taken.delete(at)
    }
  })

  return {
    placeOf: (packable, size, isKept) => {
      const gathered = (resolver: RequestResolver.RequestResolver<Gathering>) =>
        Effect.request(Gathering({ packable }), resolver)
      return Effect.map(
        isKept
          ? Effect.flatMap(find(packable), (found) =>
              found === undefined ? gathered(keeping(size)) : Effect.succeed(found)
            )
          : gathered(gathering(size)),
        placeIn
      )
    }
  }
}

/** The answers of a group, sent for once. */
const answering = (sender: PackedPrompt.Sender) => {
  const flights = SingleFlight.make<ReadonlyArray<PackedPrompt.PackedAnswer>, never>()
  return (live: Live): Effect.Effect<ReadonlyArray<PackedPrompt.PackedAnswer>> =>
    Effect.suspend(() =>
      live.answers === undefined
        ? flights.run(
            live.group.name,
            Effect.tap(PackedPrompt.answers(sender, live.group), (answers) =>
              Effect.sync(() => {
                if (PackedPrompt.isOver(answers)) live.answers = answers
              })
            )
          )
        : Effect.succeed(live.answers)
    )
}

type Close = (entries: ReadonlyArray<Request.Entry<Gathering>>) => Effect.Effect<void>

const begin = (group: PackGroup.PackGroup): Live => ({ group, answers: undefined, taken: new Map() })

/** Closes groups that live as long as their prompts. */
const closing = (): Close => {
  let number = 0
  return (entries) =>
    Effect.sync(() => {
      const live = begin({ name: `${number++}`, ...contentOf(entries), audit: "later" })
      for (const [at, entry] of entries.entries()) entry.completeUnsafe(Exit.succeed({ live, at }))
    })
}

/** Closes groups that are kept. */
const closingKept = ({ repo, run, sender }: Options, kept: Lru.Lru<string, Live>): Close =>
  Effect.fnUntraced(function* (entries) {
    const textOf = ({ request }: Request.Entry<Gathering>) => request.packable.text
    const all = entries.map(textOf)
    // Rows with equal texts share a place.
    const content = contentOf(entries.filter((entry, at) => all.indexOf(textOf(entry)) === at))
    const { pack, scope, texts } = content
    const group: PackGroup.PackGroup = {
      name: ContentHash.make(JSON.stringify([scope.size.key, texts])),
      ...content,
      audit: yield* PackedPrompt.auditOf(scope, pack, texts.length)
    }
    const keys = texts.map((text) => memberOf(content, text))
    yield* stored(sender, repo.keepGroup(run, group, keys))
    const live = begin(group)
    kept.set(group.name, live)
    for (const entry of entries) entry.completeUnsafe(Exit.succeed({ live, at: texts.indexOf(textOf(entry)) }))
  })

/** Finds the kept group of a text. */
const finding =
  ({ repo, sender }: Options, kept: Lru.Lru<string, Live>) =>
  (packable: Packable): Effect.Effect<LivePlace | undefined> =>
    Effect.map(stored(sender, repo.groupOf(memberOf(packable, packable.text))), (found) => {
      if (found === undefined) return undefined
      const { at, group } = found
      const { pack, scope, template } = packable
      const live = kept.get(group.name) ?? begin({ ...group, scope, template, pack })
      kept.set(group.name, live)
      return { live, at }
    })

/** The key of a text in the store. */
const memberOf = ({ pack, scope }: Pick<Packable, "pack" | "scope">, text: string): string =>
  ContentHash.make(JSON.stringify([scope.size.key, pack.size, text]))

/** Continues without what the store cannot do: rows that are replayed may then be paid again. */
const stored = <A>(
  { warn }: PackedPrompt.Sender,
  effect: Effect.Effect<A, { readonly message: string }>
): Effect.Effect<A | undefined> =>
  Effect.catch(effect, (error) =>
    Effect.as(
      warn(`packed prompts cannot be kept, so replayed rows may be paid again: ${Store.messageOf(error)}`),
      undefined
    )
  )

const contentOf = (entries: ReadonlyArray<Request.Entry<Gathering>>) => {
  const { pack, scope, template } = entries[0]!.request.packable
  return {
    scope,
    template,
    pack,
    texts: entries.map(({ request }) => request.packable.text),
    rows: entries.map(({ context }): PackGroup.GroupRow => {
      const { accept, position, row, values } = Context.get(context, CallContext.CallContext)
      return { row, position, values, accept }
    })
  }
}

/** The resolvers that gather the texts of a scope into groups of a size. */
const gatherer = ({ maxTokens, wait }: Options, close: Close) => {
  const resolvers = new Map<number, RequestResolver.RequestResolver<Gathering>>()
  return (size: number): RequestResolver.RequestResolver<Gathering> => {
    let resolver = resolvers.get(size)
    if (resolver === undefined) {
      resolver = RequestResolver.makeGrouped<Gathering, string>({
        key: ({ request }) => request.packable.scope.size.key,
        resolver: (entries) => Effect.forEach(cut(entries, maxTokens), close, { discard: true })
      }).pipe(RequestResolver.setDelay(wait), RequestResolver.batchN(size))
      resolvers.set(size, resolver)
    }
    return resolver
  }
}

/** Groups texts within a number of tokens. */
const cut = (
  entries: ReadonlyArray<Request.Entry<Gathering>>,
  maxTokens: number
): ReadonlyArray<ReadonlyArray<Request.Entry<Gathering>>> => {
  const groups: Array<Array<Request.Entry<Gathering>>> = []
  let left = 0
  for (const entry of entries) {
    const tokens = TokenCounter.estimate(entry.request.packable.text)
    if (groups.length === 0 || tokens > left) {
      groups.push([])
      left = maxTokens
    }
    groups.at(-1)!.push(entry)
    left -= tokens
  }
  return groups
}
