/** Semantic operators: filter, join and top k by a model. A task of LOTUS. */
import { Flow, Sink, Source, Stack } from "@pipe/core"
import { OpenAi } from "@pipe/plugins"
import { Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"

const courses = Source.fromIterable("course", [
  { title: "Linear Algebra", department: "maths" },
  { title: "History of Rome", department: "history" },
  { title: "Probability", department: "maths" },
  { title: "Optimization", department: "maths" },
  { title: "Medieval Law", department: "history" }
])

const skills = Source.fromIterable("skill", ["solving systems of equations", "reading charters", "betting wisely"])

const yes = (prompt: string) =>
  Effect.map(LanguageModel.generateText({ prompt: `${prompt} Answer yes or no.` }), ({ text }) => /^yes/i.test(text))

const formal = Flow.where("formal", courses, ({ title }) => yes(`Does the course "${title}" need much mathematics?`))

// Only pairs that are near to each other are judged: that is what makes a join by a model affordable.
const courseVector = Flow.embed("courseVector", { formal }, ({ formal }) => formal.title)
const skillVector = Flow.embed("skillVector", { skill: skills }, ({ skill }) => skill)
const candidates = Flow.nearest(
  "candidates",
  { skill: skills },
  { courses: formal },
  { by: [skillVector, courseVector], count: 2 }
)
const pair = Flow.expand("pair", { candidates }, ({ candidates: { courses, skill } }) =>
  courses.map(({ value }) => ({ skill, course: value }))
)
const taught = Flow.where("taught", pair, ({ course, skill }) =>
  yes(`Does the course "${course.title}" teach ${skill}?`)
)

const score = Flow.step("score", { taught }, ({ taught: { course, skill } }) =>
  LanguageModel.generateObject({
    schema: Schema.Struct({ score: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 100 })) }),
    prompt: `How well does the course "${course.title}" teach ${skill}, from 0 to 100?`
  }).pipe(Effect.map(({ value }) => value.score))
)

const top = Flow.group("top", { taught, score }, { by: ({ taught }) => taught.skill }, ({ key, rows }) => ({
  skill: key,
  courses: rows
    .toSorted((a, b) => b.score - a.score)
    .slice(0, 2)
    .map(({ taught }) => taught.course.title)
}))

export default Flow.make("operators", {
  outputs: [Sink.jsonl(new URL("../out/operators.jsonl", import.meta.url), top)],
  settings: { temperature: 0 },
  simulate: ({ step }) => (step === "formal" || step === "taught" ? "yes" : undefined),
  stack: Stack.recommended({
    provider: OpenAi.layer({ model: "gpt-4o-mini", embeddings: "text-embedding-3-small" })
  })
})
