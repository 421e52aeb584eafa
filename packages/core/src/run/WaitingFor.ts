/**
 * What the calls of a run wait for.
 *
 * @internal
 */
import type * as LayerEvent from "../client/LayerEvent.ts"
import * as SafeText from "../encoding/SafeText.ts"
import type * as RunEvent from "./RunEvent.ts"

/** The most characters of a failure in a display. */
const MOST_FAILURE = 120

/** The most characters of a layer's words in a display. */
const MOST_WORDS = 60

/** What most calls wait for, and the last of them. */
const mostOf = (waits: ReadonlyArray<LayerEvent.Wait>): (typeof RunEvent.Progress.Type)["waitingFor"] => {
  const groups = new Map<string, Array<LayerEvent.Wait>>()
  for (const wait of waits) {
    const key = JSON.stringify([wait.reason, wait.model, wait.of, wait.failure])
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [wait])
    else group.push(wait)
  }
  const [most] = [...groups.values()].sort((a, b) => b.length - a.length)
  const [first] = most ?? []
  return most === undefined || first === undefined
    ? undefined
    : {
        reason: SafeText.line(first.reason, MOST_WORDS),
        model: first.model,
        ...(first.of === undefined ? undefined : { of: SafeText.line(first.of, MOST_WORDS) }),
        ...(first.failure === undefined ? undefined : { failure: SafeText.line(first.failure, MOST_FAILURE) }),
        calls: most.length,
        until: Math.max(...most.map(({ until }) => until))
      }
}

export interface WaitingFor {
  readonly note: (notice: LayerEvent.Wait) => void
  /** How many calls wait now, how long calls have waited in total (milliseconds), and what most of them wait for. */
  readonly status: (at: number) => Pick<typeof RunEvent.Progress.Type, "waiting" | "waited" | "waitingFor">
}

export const make = (): WaitingFor => {
  let waited = 0
  let waits: Array<LayerEvent.Wait> = []
  return {
    note: (notice) => {
      waited += notice.milliseconds
      waits.push(notice)
    },
    status: (at) => {
      waits = waits.filter(({ until }) => until > at)
      const waitingFor = mostOf(waits)
      return { waiting: waits.length, waited, ...(waitingFor === undefined ? undefined : { waitingFor }) }
    }
  }
}
