/** Asks the server, and keeps what it answers up to date. */
import { useCallback, useEffect, useRef, useState } from "preact/hooks"

/** What the server says where it cannot answer. */
export class Refusal extends Error {
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

const read = async <A>(response: Response): Promise<A> => {
  if (response.ok) return (await response.json()) as A
  const body = (await response.json().catch(() => ({}))) as { readonly message?: string }
  throw new Refusal(response.status, body.message ?? `the server answered with status ${response.status}`)
}

export const get = async <A>(path: string, signal?: AbortSignal): Promise<A> => {
  try {
    return await read<A>(await fetch(path, signal === undefined ? {} : { signal }))
  } catch (error) {
    if (error instanceof TypeError)
      throw new Refusal(0, "pipe ui does not answer: start it again, and open its new address")
    throw error
  }
}

export const post = async <A>(path: string, body: unknown): Promise<A> =>
  read<A>(
    await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) })
  )

export const runPath = (run: string, path: string, params: ReadonlyArray<readonly [string, string]> = []): string => {
  const query = new URLSearchParams(params.map(([name, value]) => [name, value])).toString()
  return `/api/runs/${encodeURIComponent(run)}${path}${query === "" ? "" : `?${query}`}`
}

export interface Asked<A> {
  /** The last answer, also while the next is in flight, or cannot be had. */
  readonly value: A | undefined
  readonly problem: string | undefined
  readonly again: () => void
}

/** The answer at a path, asked for again after this many milliseconds while the page is seen. */
export const useAsked = <A>(path: string | undefined, every?: number): Asked<A> => {
  const [value, setValue] = useState<A>()
  const [problem, setProblem] = useState<string>()
  const [turn, setTurn] = useState(0)
  const shown = useRef<string | undefined>(undefined)
  useEffect(() => {
    if (path === undefined) return
    if (shown.current !== path) {
      shown.current = path
      setValue(undefined)
      setProblem(undefined)
    }
    const stop = new AbortController()
    let timer: ReturnType<typeof setTimeout> | undefined
    const ask = async () => {
      try {
        if (!document.hidden || turn === 0) {
          setValue(await get<A>(path, stop.signal))
          setProblem(undefined)
        }
      } catch (error) {
        if (stop.signal.aborted) return
        setProblem(error instanceof Error ? error.message : String(error))
      }
      if (every !== undefined && !stop.signal.aborted) timer = setTimeout(ask, every)
    }
    void ask()
    return () => {
      stop.abort()
      clearTimeout(timer)
    }
  }, [path, every, turn])
  const again = useCallback(() => setTurn((before) => before + 1), [])
  return { value, problem, again }
}
