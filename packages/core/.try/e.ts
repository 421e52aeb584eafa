import * as Schema from "effect/Schema"
import * as A from "../src/answer/AnswerSchema.ts"
const Shared = Schema.Struct({ code: Schema.String }).annotate({ identifier: "Shared", description: "a shared part" })
console.log(
  JSON.stringify(
    A.of(Schema.Struct({ shared: Shared, again: Shared.annotateKey({ description: "another" }) })).jsonSchema,
    null,
    1
  )
)
