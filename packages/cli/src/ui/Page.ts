/** The document that the script of the page fills. */
import * as Html from "../view/Html.ts"

const document = (nonce: string, body: string, head = ""): string =>
  `${Html.start}<meta name="color-scheme" content="light dark"><title>pipe</title><link rel="icon" href="data:,">
<link rel="stylesheet" href="/page.css" nonce="${nonce}">${head}</head><body>${body}</body></html>`

export const html = (nonce: string): string =>
  document(
    nonce,
    '<div id="page"><p class="empty">Loading…</p></div>',
    `<script type="module" src="/page.js" nonce="${nonce}"></script>`
  )

/** For those without the cookie: the address in the terminal has the token. */
export const closed = (nonce: string): string =>
  document(
    nonce,
    '<main class="closed"><h1>pipe</h1><p>Open the address that <code>pipe ui</code> has printed: it has the token of this server.</p></main>'
  )
