/** The server of the page: on loopback, for those with its token, from the store alone. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as ByteSize from "effect/ByteSize"
import * as LabelRepo from "@pipe/core/internal/LabelRepo"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { randomBytes } from "node:crypto"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import * as Assets from "./Assets.ts"
import * as Compare from "./Compare.ts"
import * as ErrorGroups from "./ErrorGroups.ts"
import * as Export from "./Export.ts"
import * as Fields from "./Fields.ts"
import * as Guard from "./Guard.ts"
import * as Page from "./Page.ts"
import * as Problem from "./Problem.ts"
import * as Query from "./Query.ts"
import * as RetryRun from "./RetryRun.ts"
import * as Review from "./Review.ts"
import * as RowData from "./RowData.ts"
import * as RunData from "./RunData.ts"
import type * as Located from "./Located.ts"
import * as Stores from "./Stores.ts"
import * as Text from "./Text.ts"

export interface Options {
  /** The stores to read, those of simulated runs too. */
  readonly stores: ReadonlyArray<string>
  /** Default: any that is free. */
  readonly port: number
  readonly self: RetryRun.Self
}

export interface Served {
  readonly port: number
  readonly token: string
  /** The address for the browser, with the token. */
  readonly address: (run?: string) => string
  /** The same for a program that is given it as an argument, which others can see: it is good for one opening. */
  readonly addressOnce: (run?: string) => string
}

/** What a request has of its own. */
interface Call {
  readonly params: URLSearchParams
  readonly path: { readonly [name: string]: string | undefined }
  readonly request: HttpServerRequest.HttpServerRequest
}

type Answer = HttpServerResponse.HttpServerResponse

/** What all handlers share. */
interface Site {
  readonly place: () => Guard.Place
  /** Tokens that are good once. */
  readonly once: Set<string>
  readonly stores: Stores.Stores
  readonly retries: RetryRun.Retries
  readonly assets: Assets.Assets
}

const JSON_TYPE = "application/json; charset=utf-8"

const answer = (body: unknown, status = 200): Answer =>
  HttpServerResponse.text(Text.json(body), { status, contentType: JSON_TYPE })

const refusal = ({ message, status }: Problem.Problem): Answer => answer({ message }, status)

/** The parameters of an address. Its path may be one that a URL cannot have. */
const paramsOf = (url: string): URLSearchParams => {
  const at = url.indexOf("?")
  return new URLSearchParams(at === -1 ? "" : url.slice(at))
}

/** Runs a handler for those who may, and adds the headers of every answer. */
const guarded = (
  { place }: Site,
  isOpen: boolean,
  handle: (call: Call, nonce: string) => Effect.Effect<Answer, Problem.Problem>
) =>
  Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    const nonce = randomBytes(16).toString("base64")
    const asked = { method: request.method, headers: request.headers }
    const why = Guard.refuse(asked, place())
    const path = (yield* HttpRouter.RouteContext).params
    const call: Call = { params: paramsOf(request.url), path, request }
    const answered =
      why !== undefined
        ? Effect.succeed(answer({ message: why }, 403))
        : isOpen || Guard.isKnown(asked, place())
          ? Effect.catch(handle(call, nonce), (problem) => Effect.succeed(refusal(problem)))
          : Effect.succeed(answer({ message: "open the address that pipe ui has printed: it has the token" }, 401))
    const response = yield* Effect.catchDefect(answered, (defect) =>
      Effect.succeed(answer({ message: Text.safe(defect instanceof Error ? defect.message : String(defect)) }, 500))
    )
    return HttpServerResponse.setHeaders(response, Guard.headers(nonce))
  })

const Said = Schema.Struct({
  step: Schema.String,
  row: Schema.Int,
  exchange: Schema.Int,
  labelledAt: Schema.NullOr(Schema.Finite),
  verdict: Schema.Literals(["accepted", "corrected", "seen", "undo"]),
  label: Schema.optionalKey(Schema.String),
  drawn: Schema.Literals(["doubt", "random", "chosen"])
})

const Asked = Schema.Struct({ budget: Schema.optionalKey(Schema.String) })

/** The most bytes of a request. */
const MOST_BODY = 1_000_000

const bodyOf = <A, I>({ request }: Call, schema: Schema.Codec<A, I>): Effect.Effect<A, Problem.Problem> =>
  Effect.flatMap(
    Effect.mapError(request.text, () => new Problem.Problem({ status: 413, message: "that is too long" })),
    (body) =>
      Effect.mapError(Schema.decodeUnknownEffect(Schema.fromJsonString(schema))(body), () =>
        Problem.badRequest("the request is not understood")
      )
  ).pipe(Effect.provideService(HttpIncomingMessage.MaxBodySize, ByteSize.bytes(MOST_BODY)))

const text = (content: string, contentType: string): Answer => HttpServerResponse.text(content, { contentType })

/** The page, its script and its style. Who comes with the token gets a cookie in its place. */
const pages = (site: Site) => {
  const page = guarded(site, true, ({ params, request }, nonce) => {
    const place = site.place()
    const given = params.get("token")
    if (given !== null) {
      if (!Guard.isToken(given, place) && !site.once.delete(given))
        return Effect.fail(new Problem.Problem({ status: 401, message: "the token is not that of this server" }))
      const run = params.get("run")
      return Effect.succeed(
        HttpServerResponse.setHeaders(HttpServerResponse.empty({ status: 303 }), {
          location: run === null ? "/" : `/#/runs/${encodeURIComponent(run)}`,
          "set-cookie": Guard.cookie(place)
        })
      )
    }
    return Effect.succeed(
      text(
        Guard.isKnown({ method: "GET", headers: request.headers }, place) ? Page.html(nonce) : Page.closed(nonce),
        "text/html; charset=utf-8"
      )
    )
  })
  const asset = (content: string, type: string) => guarded(site, false, () => Effect.succeed(text(content, type)))
  return [
    HttpRouter.route("GET", "/", page),
    HttpRouter.route("GET", "/page.js", asset(site.assets.script, "text/javascript; charset=utf-8")),
    HttpRouter.route("GET", "/page.css", asset(site.assets.style, "text/css; charset=utf-8"))
  ]
}

/** A handler of a run. */
const ofRun = (site: Site, handle: (located: Located.Located, call: Call) => Effect.Effect<unknown, Problem.Problem>) =>
  guarded(site, false, (call) =>
    Effect.flatMap(site.stores.find(call.path["run"] ?? ""), (located) =>
      Effect.map(handle(located, call), (body) => (HttpServerResponse.isHttpServerResponse(body) ? body : answer(body)))
    )
  )

/** Adds a route that reads a run. */
const reading = (site: Site) => (path: `/${string}`, handle: Parameters<typeof ofRun>[1]) =>
  HttpRouter.route("GET", `/api/runs/:run${path}`, ofRun(site, handle))

/** What a run came to, and what it does. */
const runRoutes = (site: Site) => {
  const { retries, stores } = site
  const get = reading(site)
  return [
    HttpRouter.route(
      "GET",
      "/api/runs",
      guarded(site, false, () =>
        Effect.map(Effect.all([RunData.list(stores), stores.problems]), ([runs, problems]) =>
          answer({ runs, problems })
        )
      )
    ),
    get("/summary", (located) =>
      Effect.map(RunData.one(located, stores), (one) => ({ ...one, retry: retries.of(located.run.name) ?? null }))
    ),
    get("/live", (located) =>
      Effect.flatMap(Clock.currentTimeMillis, (at) =>
        Effect.map(RunData.live(located, stores, at), (live) => ({
          ...live,
          retry: retries.of(located.run.name) ?? null
        }))
      )
    ),
    get("/money", (located) => RunData.money(located, stores)),
    get("/graph.svg", (located) =>
      Effect.map(RunData.graph(located, stores), (svg) => text(Text.safe(svg), "image/svg+xml; charset=utf-8"))
    )
  ]
}

/** The rows of a run, and their values. */
const rowRoutes = (site: Site) => {
  const { stores } = site
  const get = reading(site)
  return [
    get("/rows", (located, { params }) =>
      Effect.gen(function* () {
        const query = yield* Query.rows(params)
        const index = yield* stores.index(located)
        return {
          total: index.count(query.filters),
          isWhole: index.isWhole(),
          version: index.version(),
          rows: index.rows(query)
        }
      })
    ),
    get("/values", (located, { params }) =>
      Effect.gen(function* () {
        const { filters, sort } = yield* Query.rows(params)
        const index = yield* stores.index(located)
        return { values: index.values(sort, filters) }
      })
    ),
    get("/row", (located, { params }) =>
      Effect.gen(function* () {
        const step = yield* Query.required(params, "step")
        return yield* RowData.read(located, step, yield* Query.number(params, "row"))
      })
    ),
    get("/errors", (located) => Effect.map(ErrorGroups.read(located), (groups) => ({ groups }))),
    get("/fields", (located, { params }) =>
      Effect.flatMap(Query.required(params, "step"), (step) => Fields.read(located, step))
    ),
    get("/compare", (located, { params }) =>
      Effect.gen(function* () {
        const other = yield* stores.find(yield* Query.required(params, "with"))
        const [one, two] = [yield* stores.kept(located), yield* stores.kept(other)]
        return {
          ...(yield* Compare.make(one, two)),
          sides: [yield* RunData.one(located, stores), yield* RunData.one(other, stores)]
        }
      })
    ),
    get("/export", (located, { params }) =>
      Effect.gen(function* () {
        const query = yield* Query.rows(params)
        // Errors are answers: once the stream has started, it can only be cut off.
        yield* stores.index(located, true)
        const format = yield* Query.format(params)
        const exported = Stream.unwrap(
          Effect.map(stores.held(located), (index) => Export.file(index, query, Query.columns(params), format))
        )
        return HttpServerResponse.setHeaders(
          HttpServerResponse.stream(exported, { contentType: Export.types[format] }),
          { "content-disposition": `attachment; filename="${located.run.name}.${format}"` }
        )
      })
    )
  ]
}

/** The review queue, labels, and retries: all that changes anything. */
const reviewRoutes = (site: Site) => {
  const { retries, stores } = site
  const get = reading(site)
  return [
    get("/review", (located, { params }) =>
      Effect.gen(function* () {
        const query = yield* Query.review(params)
        return text(Text.exact(yield* Review.read(located, yield* stores.kept(located), query)), JSON_TYPE)
      })
    ),
    HttpRouter.route(
      "POST",
      "/api/runs/:run/review",
      ofRun(site, (located, call) =>
        Effect.gen(function* () {
          const said = yield* bodyOf(call, Said)
          return yield* Review.save(located, yield* stores.kept(located), said, yield* Clock.currentTimeMillis)
        })
      )
    ),
    HttpRouter.route(
      "POST",
      "/api/runs/:run/retry",
      ofRun(site, ({ run, store }, call) =>
        Effect.gen(function* () {
          const { budget } = yield* bodyOf(call, Asked)
          return yield* retries.start(run.name, stores.locationOf(store), budget, yield* Clock.currentTimeMillis)
        })
      )
    ),
    get("/labels", ({ run, store }) =>
      Effect.sync(() => {
        const lines = Stream.map(
          Stream.filter(store.labels.all(run.flow), LabelRepo.isLabel),
          (label) => `${Text.exact(label)}\n`
        )
        return HttpServerResponse.setHeaders(
          HttpServerResponse.stream(Stream.encodeText(lines), { contentType: "application/jsonl; charset=utf-8" }),
          { "content-disposition": `attachment; filename="labels.jsonl"` }
        )
      })
    ),
    HttpRouter.route(
      "*",
      "/*",
      guarded(site, false, () => Effect.fail(new Problem.Problem({ status: 404, message: "there is no such page" })))
    )
  ]
}

const newToken = (): string => randomBytes(24).toString("base64url")

const reason = (error: unknown): string =>
  Predicate.hasProperty(error, "code") && error.code === "EADDRINUSE"
    ? "another process has it"
    : error instanceof Error
      ? error.message
      : String(error)

/** Serves until the scope ends. */
export const serve = Effect.fnUntraced(function* (options: Options): Effect.fn.Return<Served, Error, Scope.Scope> {
  const token = newToken()
  const server = createServer()
  server.on("request", (_, response) => {
    for (const [name, value] of Object.entries(Guard.bare)) response.setHeader(name, value)
  })
  const place = (): Guard.Place => ({ port: (server.address() as AddressInfo | null)?.port ?? 0, token })
  const site: Site = {
    place,
    once: new Set(),
    stores: yield* Stores.make(options.stores),
    retries: RetryRun.make(options.self),
    assets: yield* Assets.assets
  }
  const routes = HttpRouter.addAll([...pages(site), ...runRoutes(site), ...rowRoutes(site), ...reviewRoutes(site)])
  yield* Effect.mapError(
    Layer.build(
      HttpRouter.serve(routes, { disableLogger: true, disableListenLog: true }).pipe(
        Layer.provide(NodeHttpServer.layer(() => server, { port: options.port, host: "127.0.0.1" }))
      )
    ),
    (error) => new Error(`port ${options.port} of 127.0.0.1 cannot be used: ${reason(error.cause ?? error)}`)
  )
  const { port } = place()
  const addressOf = (token: string, run: string | undefined) =>
    `http://127.0.0.1:${port}/?token=${token}${run === undefined ? "" : `&run=${encodeURIComponent(run)}`}`
  return {
    port,
    token,
    address: (run) => addressOf(token, run),
    addressOnce: (run) => {
      const own = newToken()
      site.once.add(own)
      return addressOf(own, run)
    }
  }
})
