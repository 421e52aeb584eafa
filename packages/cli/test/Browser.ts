/** A browser for tests of pages: Chromium, without a network but this machine. */
import puppeteer, { type Browser, type Page } from "puppeteer-core"
import * as Servers from "../../../test/Servers.ts"

export interface Seen {
  readonly page: Page
  /** What the browser complained of: errors of scripts, blocked and failed requests, other hosts. */
  readonly complaints: ReadonlyArray<string>
  readonly text: () => Promise<string>
  /** Waits until the page's text matches. */
  readonly until: (pattern: RegExp | string) => Promise<void>
  readonly tab: (name: string) => Promise<void>
  readonly go: (hash: string) => Promise<void>
}

export const launch = (): Promise<Browser> =>
  puppeteer.launch({
    executablePath: Servers.chromium!,
    headless: true,
    args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
  })

export const open = async (browser: Browser, address: string, width = 1280, height = 900): Promise<Seen> => {
  const page = await browser.newPage()
  // A page that is behind another one waits.
  await page.bringToFront()
  const complaints: Array<string> = []
  const { host } = new URL(address)
  page.on("pageerror", (error) => complaints.push(String(error)))
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(message.text())
  })
  page.on("request", (request) => {
    const url = new URL(request.url())
    if (url.protocol !== "data:" && url.host !== host) complaints.push(`another host: ${request.url()}`)
  })
  await page.setViewport({ width, height })
  await page.goto(address)
  await page.waitForSelector("h1")
  const text = () => page.evaluate("document.body.innerText") as Promise<string>
  return {
    page,
    complaints,
    text,
    until: async (pattern) => {
      const source = typeof pattern === "string" ? pattern.replace(/[.*+?^${}()|[\]\\]/g, "\\$&") : pattern.source
      try {
        await page.waitForFunction(`new RegExp(${JSON.stringify(source)}).test(document.body.innerText)`, {
          timeout: 20_000,
          polling: 50
        })
      } catch {
        throw new Error(`the page does not say ${String(pattern)}:\n${await text()}\n${complaints.join("\n")}`)
      }
    },
    tab: async (name) => {
      await page.waitForSelector(".tabs a")
      await page.evaluate(
        `[...document.querySelectorAll(".tabs a")].find((link) => link.textContent === ${JSON.stringify(name)}).click()`
      )
      await page.waitForFunction(`document.querySelector(".tabs a.here")?.textContent === ${JSON.stringify(name)}`)
    },
    go: async (hash) => {
      await page.evaluate(`location.hash = ${JSON.stringify(hash)}`)
    }
  }
}
