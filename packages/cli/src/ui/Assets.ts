/** The script and the style of the page: bundled into the published command, made from their sources otherwise. */
import * as Effect from "effect/Effect"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"

export interface Assets {
  readonly script: string
  readonly style: string
}

/** Where the build puts them, beside the command. */
const built = join(import.meta.dirname, "../ui")

/** What bundles them in a checkout of the sources. */
const bundler = join(import.meta.dirname, "../../scripts/page.ts")

/** Read once. */
export const assets: Effect.Effect<Assets> = Effect.promise(async () => {
  if (existsSync(join(built, "page.js")))
    return {
      script: readFileSync(join(built, "page.js"), "utf8"),
      style: readFileSync(join(built, "page.css"), "utf8")
    }
  const { bundle } = (await import(pathToFileURL(bundler).href)) as { readonly bundle: () => Promise<Assets> }
  return bundle()
})
