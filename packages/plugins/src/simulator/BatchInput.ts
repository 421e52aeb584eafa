/**
 * Reads and checks the input of a batch, as the providers do.
 *
 * @internal
 */
import type { SimulatedBatch, SimulatedRequest, SimulatedFile } from "./BatchState.ts"
import type { WireJson } from "./Wire.ts"

/** The input, or a text that describes what is wrong with it. */
export type ReadBatchInput =
  | Pick<SimulatedBatch, "wire" | "endpoint" | "input" | "bytes" | "entries" | "metadata">
  | string

const LIMITS = { openai: [50_000, 200e6], anthropic: [100_000, 256e6] } as const

const ID = /^[A-Za-z0-9_-]{1,64}$/

/** What is wrong with a batch as a whole. */
const check = (
  wire: SimulatedBatch["wire"],
  entries: ReadonlyArray<SimulatedRequest>,
  bytes: number
): string | undefined => {
  const [most, size] = LIMITS[wire]
  const ids = new Set(entries.map(({ customId }) => customId))
  return entries.length > most
    ? `a batch has at most ${most} requests; this one has ${entries.length}`
    : bytes > size
      ? `a batch has at most ${size} bytes; this one has ${bytes}`
      : ids.size < entries.length
        ? "custom_id must be unique"
        : [...ids].some((id) => !ID.test(id))
          ? "custom_id must have 1 to 64 letters, digits, dashes or underscores"
          : new Set(entries.map(({ body }) => body["model"])).size > 1 && wire === "openai"
            ? "a batch has requests of one model"
            : undefined
}

export const openAi = (given: WireJson, files: ReadonlyMap<string, SimulatedFile>): ReadBatchInput => {
  const file = files.get(String(given["input_file_id"]))
  if (file === undefined) return "input_file_id: no such file"
  const endpoint = String(given["endpoint"])
  const entries = file.content
    .toString("utf8")
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line): SimulatedRequest => {
      const { body, custom_id, url } = JSON.parse(line) as WireJson
      return { customId: String(custom_id), endpoint: String(url), body: body as WireJson }
    })
  const wrong =
    check("openai", entries, file.content.length)
    ?? (entries.some((entry) => entry.endpoint !== endpoint)
      ? "the url of each request must be the endpoint of the batch"
      : undefined)
  return (
    wrong ?? {
      wire: "openai",
      endpoint,
      input: file.id,
      bytes: file.content.length,
      entries,
      metadata: (given["metadata"] ?? {}) as { readonly [name: string]: string }
    }
  )
}

export const anthropic = (given: WireJson, bytes: number): ReadBatchInput => {
  if (!Array.isArray(given["requests"])) return "requests is missing"
  const entries = given["requests"].map(({ custom_id, params }: WireJson): SimulatedRequest => ({
    customId: String(custom_id),
    endpoint: "/v1/messages",
    body: params as WireJson
  }))
  return (
    check("anthropic", entries, bytes) ?? {
      wire: "anthropic",
      endpoint: "/v1/messages",
      input: "",
      bytes,
      entries,
      metadata: {}
    }
  )
}
