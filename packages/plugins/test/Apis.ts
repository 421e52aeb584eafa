/** The APIs for completions and the ways to reach them: what is tried over one is tried over all. */
import { Anthropic, OpenAi } from "@pipe/plugins"
import * as Streamed from "./Streamed.ts"
import type * as Wire from "./Wire.ts"

export const apis = ["chat", "responses", "messages"] as const

export type Api = (typeof apis)[number]

export interface Way {
  readonly transport: "pool" | "sdk"
  readonly stream: boolean
}

export const ways: ReadonlyArray<Way> = [
  { transport: "pool", stream: false },
  { transport: "pool", stream: true },
  { transport: "sdk", stream: false },
  { transport: "sdk", stream: true }
]

export const nameOf = ({ stream, transport }: Way): string => `by ${transport}${stream ? ", streamed" : ""}`

/** The address of a server as an API's base. */
export const baseOf = (api: Api, url: string): string => (api === "messages" ? url : `${url}/v1`)

export const layerOf = (api: Api, baseUrl: string, way: Way, model?: string) =>
  api === "messages"
    ? Anthropic.layer({ baseUrl, apiKey: "k", model: model ?? "claude-sonnet-4-6", ...way })
    : OpenAi.layer({ baseUrl, apiKey: "k", model: model ?? "gpt-4o-mini", provider: "openai", api, ...way })

/** A whole answer as the data of the events in which each API streams it. */
export const streamed: { readonly [A in Api]: (text: string) => ReadonlyArray<string> } = {
  chat: Streamed.chunksOf,
  responses: Streamed.responseEventsOf,
  messages: Streamed.messageEventsOf
}

/** An answer as a server gives it, whole or as a stream. */
export const replyOf = (api: Api, body: object, { stream }: Pick<Way, "stream">) =>
  ({
    body: stream
      ? streamed[api](JSON.stringify(body))
          .map((line) => `data: ${line}\n\n`)
          .join("")
      : JSON.stringify(body),
    headers: { "content-type": stream ? "text/event-stream" : "application/json" }
  }) satisfies Wire.Reply
