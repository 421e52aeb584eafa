/** The page of `pipe ui`. */
import { render } from "preact"
import { useEffect } from "preact/hooks"
import { Run } from "./Run.tsx"
import { Runs } from "./Runs.tsx"
import * as Route from "./Route.ts"

const App = () => {
  const route = Route.useRoute()
  useEffect(() => {
    document.title = route.run === undefined ? "pipe" : `${route.run} · pipe`
  }, [route.run])
  return (
    <>
      <a
        class="skip"
        href="#main"
        onClick={(event) => (event.preventDefault(), document.getElementById("main")?.focus())}
      >
        Skip to the content
      </a>
      <header class="top">
        <a class="brand" href={Route.format(undefined)}>
          pipe
        </a>
        {route.run === undefined ? null : (
          <nav aria-label="Place">
            <a href={Route.format(undefined)}>runs</a> / <span aria-current="page">{route.run}</span>
          </nav>
        )}
      </header>
      <main id="main" tabIndex={-1}>
        {route.run === undefined ? <Runs /> : <Run key={route.run} run={route.run} route={route} />}
      </main>
    </>
  )
}

const place = document.getElementById("page")!
place.textContent = ""
render(<App />, place)
