/** The object of a task as a JSON Schema and as a schema of zod. The schema of `pipe` is in its peer. */
import { z } from "zod"
import { fields } from "./tasks.ts"

type Kind = (typeof fields)[keyof typeof fields]

const json: Readonly<Record<Kind, object>> = {
  string: { type: "string" },
  number: { type: "number" },
  boolean: { type: "boolean" },
  strings: { type: "array", items: { type: "string" } }
}

const mapFields = <A>(of: Readonly<Record<Kind, A>>): Record<keyof typeof fields, A> =>
  Object.fromEntries(Object.entries(fields).map(([name, kind]) => [name, of[kind]])) as Record<keyof typeof fields, A>

/** How the body of a call asks for it. */
export const responseFormat = {
  type: "json_schema",
  json_schema: {
    name: "message",
    strict: true,
    schema: {
      type: "object",
      properties: mapFields(json),
      required: Object.keys(fields),
      additionalProperties: false
    }
  }
}

export const zod = z.object(
  mapFields<z.ZodType>({
    string: z.string(),
    number: z.number(),
    boolean: z.boolean(),
    strings: z.array(z.string())
  })
)
