/**
 * Assembles an answer of the responses API from its events
 * (platform.openai.com/docs/api-reference/responses-streaming).
 *
 * **Details** The last event has the whole answer. When a gateway omits its items, or the stream ends before it, the
 * answer is assembled from the items and pieces received.
 *
 * @internal
 */
import type * as Events from "../provider/Events.ts"
import * as Fields from "../provider/Fields.ts"

type Mutable = { [name: string]: unknown }

/** Events that end an answer. */
const ENDS = new Set([
  "response.completed",
  "response.done",
  "response.incomplete",
  "response.failed",
  "response.cancelled"
])

/** Pieces by event type: the type of the item, and the field they belong to. */
const PIECES: ReadonlyMap<string, readonly [type: string, field: string]> = new Map([
  ["response.output_text.delta", ["message", "text"]],
  ["response.refusal.delta", ["message", "refusal"]],
  ["response.function_call_arguments.delta", ["function_call", "arguments"]],
  ["response.reasoning_summary_text.delta", ["reasoning", "summary"]],
  ["response.reasoning_text.delta", ["reasoning", "content"]]
])

interface Item {
  item: Fields.Fields
  isDone: boolean
  readonly pieces: Map<string, string>
}

/** An item, assembled from its pieces unless it arrived whole. */
const toItem = ({ isDone, item, pieces }: Item): Fields.Fields => {
  if (isDone && (textOf([item]) !== "" || !pieces.has("text"))) return item
  const made: Mutable = { ...item }
  const [text, refusal] = [pieces.get("text"), pieces.get("refusal")]
  const contents = [
    ...(text === undefined ? [] : [{ type: "output_text", text }]),
    ...(refusal === undefined ? [] : [{ type: "refusal", refusal }])
  ]
  if (contents.length > 0) made["content"] = contents
  const said = pieces.get("arguments")
  if (said !== undefined) made["arguments"] = said
  for (const name of ["summary", "content"]) {
    const thought = made["type"] === "reasoning" ? pieces.get(name) : undefined
    if (thought !== undefined) made[name] = [{ text: thought }]
  }
  return made
}

/** The text of several items. */
const textOf = (items: ReadonlyArray<unknown>): string =>
  items
    .flatMap((item) => Fields.list(Fields.fields(item)["content"]) ?? [])
    .map((part) => Fields.text(Fields.fields(part)["text"]) ?? "")
    .join("")

export const make = (): Events.Assembly => {
  let response: Fields.Fields = {}
  const items = new Map<unknown, Item>()
  let isWhole = false

  const itemAt = (index: unknown, type: string | undefined): Item => {
    let found = items.get(index)
    if (found === undefined) {
      found = { item: type === undefined ? {} : { type }, isDone: false, pieces: new Map() }
      items.set(index, found)
    }
    return found
  }

  return {
    add: (event) => {
      const type = event["type"]
      if (Fields.isRecord(event["response"])) {
        response = { ...response, ...event["response"] }
        isWhole ||= typeof type === "string" && ENDS.has(type)
      } else if (typeof type !== "string" && (event["object"] === "response" || Array.isArray(event["output"]))) {
        response = { ...response, ...event }
        isWhole = true
      }
      if (Fields.isRecord(event["item"])) {
        const isDone = type === "response.output_item.done"
        const found = itemAt(event["output_index"], undefined)
        if (!found.isDone) Object.assign(found, { item: event["item"], isDone })
      }
      const place = Fields.oneOf(PIECES, type)
      const piece = Fields.text(event["delta"])
      if (place === undefined || piece === undefined) return
      const { pieces } = itemAt(event["output_index"], place[0])
      pieces.set(place[1], (pieces.get(place[1]) ?? "") + piece)
    },
    hasStarted: () => items.size > 0,
    isOver: () => isWhole,
    isWhole: () => isWhole,
    body: () => {
      const made = [...items.values()].map(toItem)
      const said = Fields.list(response["output"])
      // Gateways omit the items at the end, or empty them.
      const isPoorer = made.length > 0 && textOf(said ?? []) === "" && (said?.length === 0 || textOf(made) !== "")
      return isPoorer || (said === undefined && made.length > 0) ? { ...response, output: made } : response
    }
  }
}
