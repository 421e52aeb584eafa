/**
 * How often a test repeats what it does: a few times in `pnpm test`, as often as shows what is rare in `pnpm test:soak`. The
 * same tests run in both.
 */

/** Whether `PIPE_SOAK=1` is set. */
export const isSoak = process.env["PIPE_SOAK"] === "1"

/** The number for `test`, and the one for `test:soak`. */
export const times = (test: number, soak: number): number => (isSoak ? soak : test)

/** A time-out in milliseconds: soaking may take an hour. */
export const timeout = (test: number): number => (isSoak ? 3_600_000 : test)
