/** Where the page is: in the part of its address after `#`, so that it can be sent, kept and gone back to. */
import { useEffect, useState } from "preact/hooks"

export const tabs = [
  "overview",
  "rows",
  "errors",
  "money",
  "live",
  "fields",
  "quality",
  "review",
  "compare",
  "graph"
] as const

export type Tab = (typeof tabs)[number]

export interface Route {
  /** Absent on the list of runs. */
  readonly run: string | undefined
  readonly tab: Tab
  readonly params: URLSearchParams
}

/** A part of a path. One that cannot be decoded is its own name. */
const decoded = (part: string): string => {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

const isTab = (name: string | undefined): name is Tab => (tabs as ReadonlyArray<string | undefined>).includes(name)

export const parse = (hash: string): Route => {
  const [path = "", query = ""] = hash.replace(/^#/, "").split("?", 2)
  const [, place, run, tab] = path.split("/")
  return {
    run: place === "runs" && run !== undefined && run !== "" ? decoded(run) : undefined,
    tab: isTab(tab) ? tab : "overview",
    params: new URLSearchParams(query)
  }
}

export const format = (run: string | undefined, tab: Tab = "overview", params?: URLSearchParams): string => {
  const query = params?.toString() ?? ""
  return run === undefined ? "#/runs" : `#/runs/${encodeURIComponent(run)}/${tab}${query === "" ? "" : `?${query}`}`
}

/** Goes there. With `isSmall`, back does not return to what was before: a sorting, a key pressed. */
export const go = (hash: string, isSmall = false): void => {
  if (!isSmall) location.hash = hash
  else {
    history.replaceState(null, "", hash)
    dispatchEvent(new HashChangeEvent("hashchange"))
  }
}

export const useRoute = (): Route => {
  const [route, setRoute] = useState(() => parse(location.hash))
  useEffect(() => {
    const changed = () => setRoute(parse(location.hash))
    addEventListener("hashchange", changed)
    return () => removeEventListener("hashchange", changed)
  }, [])
  return route
}
