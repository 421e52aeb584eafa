/** What every queue of chunks holds to, as tests: each case gets the queues of several processes. */
import { assert } from "@effect/vitest"
import type * as WorkQueue from "../../core/src/work/WorkQueue.ts"
import { Effect, type Scope } from "effect"
import type * as SqlError from "effect/sql/SqlError"

/** A process that uses the queue. */
export interface Process {
  readonly queue: WorkQueue.WorkQueue
  /** Ends it without a word, as `kill -9` does: its lease lapses. */
  readonly vanish: Effect.Effect<void>
}

type Case = (run: Process, first: Process, second: Process) => Effect.Effect<void, SqlError.SqlError>

const job = { run: 1, attempt: 1, flow: "flow", content: "{}" }

const offer = ({ queue }: Process, ...contents: ReadonlyArray<string>) =>
  Effect.andThen(
    queue.post(job, []),
    Effect.forEach(contents, (content) => queue.offer(job.run, job.attempt, content))
  )

const take = ({ queue }: Process) => queue.take(job.run, job.attempt)

const repliesOf = ({ queue }: Process) => queue.replies(job.run)

export const cases: { readonly [name: string]: Case } = {
  "gives each chunk to one process, the oldest first, and each reply to the run once": (run, first, second) =>
    Effect.gen(function* () {
      const ids = yield* offer(run, "a", "b", "c")
      const taken = [yield* take(first), yield* take(second), yield* take(first)]
      assert.deepStrictEqual(
        taken.map((chunk) => [chunk?.id, chunk?.content, chunk?.attempts]),
        [
          [ids[0], "a", 1],
          [ids[1], "b", 1],
          [ids[2], "c", 1]
        ]
      )
      assert.isUndefined(yield* take(second))
      yield* second.queue.reply(job.run, ids[1]!, "B")
      assert.deepStrictEqual(yield* repliesOf(run), [{ chunk: ids[1]!, content: "B" }])
      assert.deepStrictEqual(yield* repliesOf(run), [])
      assert.deepStrictEqual(yield* run.queue.missing(ids), [ids[1]])
    }),
  "gives the chunk of a process that has vanished to another, and ignores its late reply": (run, first, second) =>
    Effect.gen(function* () {
      const [id] = yield* offer(run, "a")
      yield* take(first)
      assert.isUndefined(yield* take(second))
      yield* first.vanish
      assert.strictEqual((yield* take(second))?.attempts, 2)
      yield* Effect.ignore(first.queue.reply(job.run, id!, "late"))
      assert.deepStrictEqual(yield* repliesOf(run), [])
      yield* second.queue.reply(job.run, id!, "A")
      assert.deepStrictEqual(
        (yield* repliesOf(run)).map(({ content }) => content),
        ["A"]
      )
    }),
  "takes a chunk back without counting the attempt": (run, first, second) =>
    Effect.gen(function* () {
      const [id] = yield* offer(run, "a")
      yield* take(first)
      yield* second.queue.giveBack(id!)
      assert.isUndefined(yield* take(second))
      yield* first.queue.giveBack(id!)
      assert.strictEqual((yield* take(second))?.attempts, 1)
    }),
  "drops chunks, and what an earlier attempt left": (run, first) =>
    Effect.gen(function* () {
      const [a, b] = yield* offer(run, "a", "b")
      yield* run.queue.drop([a!])
      assert.strictEqual((yield* take(first))?.id, b)
      yield* run.queue.post({ ...job, attempt: 2 }, [])
      assert.deepStrictEqual(yield* first.queue.jobs("flow"), [{ ...job, attempt: 2 }])
      yield* first.queue.reply(job.run, b!, "B")
      assert.deepStrictEqual(yield* repliesOf(run), [])
      assert.isUndefined(yield* first.queue.take(job.run, 2))
      yield* run.queue.close(job.run)
      assert.deepStrictEqual(yield* first.queue.jobs("flow"), [])
    }),
  "keeps runs apart": (run, first) =>
    Effect.gen(function* () {
      yield* offer(run, "a")
      yield* run.queue.post({ ...job, run: 2 }, [])
      assert.isUndefined(yield* first.queue.take(2, 1))
      yield* run.queue.close(2)
      assert.strictEqual((yield* take(first))?.content, "a")
    })
}

/** Runs a case with new processes. */
export const run = (
  one: Case,
  open: Effect.Effect<Process, unknown, Scope.Scope>
): Effect.Effect<void, unknown, Scope.Scope> =>
  Effect.flatMap(Effect.all([open, open, open]), ([run, first, second]) => one(run, first, second))
