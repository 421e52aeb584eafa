/**
 * Reads the variables that a function captures through Node's inspector in the same process, as a debugger would show
 * them.
 *
 * @internal
 */
import type * as Inspector from "node:inspector"

/** The variables of one scope around a function, by name. */
export interface Scope {
  /** `module` scopes are shared by all functions of a module. */
  readonly kind: "inner" | "module"
  readonly variables: { readonly [name: string]: unknown }
}

export interface Scopes {
  /** From the inside out; `undefined` when the function has none (it is bound, or native). */
  readonly of: (f: Function) => ReadonlyArray<Scope> | undefined
  readonly close: () => void
}

/** The runtime's inspector does not answer synchronously (Deno's), so captured values are unknown. */
class Silent extends Error {}

const PLACE = "~@pipe/core/closure"

/** Opens a session. It is closed before a run starts. */
export const open = (inspector: typeof Inspector): Scopes => {
  const session = new inspector.Session()
  session.connect()
  const place = globalThis as { [PLACE]?: unknown }
  const post = <A>(method: string, params: object): A => {
    let outcome: { readonly error: Error | null; readonly result: unknown } | undefined
    session.post(method, params, (error, result) => {
      outcome = { error, result }
    })
    if (outcome === undefined) throw new Silent()
    if (outcome.error !== null) throw outcome.error
    return outcome.result as A
  }
  interface Remote {
    readonly objectId?: string
  }
  return {
    of: (f) => {
      try {
        place[PLACE] = f
        const { result } = post<{ readonly result: Remote }>("Runtime.evaluate", {
          expression: `globalThis["${PLACE}"]`
        })
        const { internalProperties = [] } = post<{
          readonly internalProperties?: ReadonlyArray<{ readonly name: string; readonly value?: Remote }>
        }>("Runtime.getProperties", { objectId: result.objectId, ownProperties: true })
        const scopes = internalProperties.find(({ name }) => name === "[[Scopes]]")?.value
        if (scopes?.objectId === undefined) return undefined
        post("Runtime.callFunctionOn", {
          objectId: scopes.objectId,
          functionDeclaration: `function() { globalThis["${PLACE}"] = Array.from(this) }`
        })
        const found = place[PLACE] as ReadonlyArray<{
          readonly description: string
          readonly object: Scope["variables"]
        }>
        return found.flatMap(({ description, object }): ReadonlyArray<Scope> =>
          description === "Global" || description === "Script"
            ? []
            : [{ kind: description === "Module" ? "module" : "inner", variables: object }]
        )
      } catch (error) {
        if (error instanceof Silent) return undefined
        throw error
      } finally {
        delete place[PLACE]
      }
    },
    close: () => session.disconnect()
  }
}
