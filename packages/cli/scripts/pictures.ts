/**
 * Makes the pictures of the README from a real, simulated run: a recording of the terminal, and the page of `pipe ui`.
 * It needs Chromium and `script` (util-linux).
 */
import { execFileSync, spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import puppeteer from "puppeteer-core"

const root = path.resolve(import.meta.dirname, "../../..")
const docs = path.join(root, "docs")
const bin = path.join(root, "packages/cli/src/bin.ts")
const flow = "examples/06-banking/flow.ts"
/** Below the root of the repository: it is in the pictures. */
const store = ".pipe/pictures.db"
const forget = () => {
  for (const ending of ["", "-wal", "-shm"]) fs.rmSync(path.join(root, store + ending), { force: true })
}

const chromium = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(fs.existsSync)
if (chromium === undefined) throw new Error("Chromium is not installed: apt-get install chromium")

const COLUMNS = 72

/** Lines of a terminal after some output: what the live display uses of its control sequences. */
const screen = () => {
  let lines: Array<string> = [""]
  let row = 0
  let column = 0
  const write = (text: string): void => {
    const line = (lines[row] ?? "").padEnd(column)
    lines[row] = line.slice(0, column) + text + line.slice(column + text.length)
    column += text.length
  }
  const control = (count: number, name: string): void => {
    if (name === "A") row = Math.max(0, row - count)
    else if (name === "G") column = count - 1
    else if (name === "K") lines[row] = count === 2 ? "" : (lines[row] ?? "").slice(0, column)
    else if (name === "J") {
      lines = lines.slice(0, row + 1)
      lines[row] = (lines[row] ?? "").slice(0, column)
    }
  }
  return {
    feed: (output: string): void => {
      // oxlint-disable-next-line no-control-regex -- control sequences of a terminal
      for (const [token, escape] of output.matchAll(/\u001b\[([\d;?]*[A-Za-z])|\r|\n|[^\u001b\r\n]+/g)) {
        if (token === "\n") lines[++row] ??= ""
        else if (token === "\r") column = 0
        else if (escape !== undefined)
          control(Number.parseInt(escape, 10) || (/[A]$/.test(escape) ? 1 : 0), escape.at(-1)!)
        else write(token)
      }
    },
    lines: (): ReadonlyArray<string> => lines.map((line) => line.trimEnd())
  }
}

interface Frame {
  readonly at: number
  readonly lines: ReadonlyArray<string>
}

/** Runs the flow in a terminal, and takes a frame twice a second. */
const record = (): Promise<ReadonlyArray<Frame>> =>
  new Promise((resolve) => {
    const command = `stty cols ${COLUMNS} rows 40; exec ${process.execPath} ${bin} run ${flow} --simulate --no-cache --store ${store}`
    const child = spawn("script", ["-q", "-f", "-c", command, "/dev/null"], {
      cwd: root,
      env: { ...process.env, TERM: "xterm", NO_COLOR: "1" },
      stdio: ["ignore", "pipe", "inherit"]
    })
    const terminal = screen()
    const frames: Array<Frame> = []
    const started = Date.now()
    const take = () => frames.push({ at: Date.now() - started, lines: terminal.lines() })
    child.stdout.setEncoding("utf8")
    child.stdout.on("data", (text: string) => terminal.feed(text))
    const timer = setInterval(take, 500)
    child.on("close", () => {
      clearInterval(timer)
      take()
      resolve(frames)
    })
  })

const escape = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")

/** How long the last frame stays, in milliseconds. */
const LAST = 5_000

/** One picture that plays the frames, again and again. */
const animated = (frames: ReadonlyArray<Frame>): string => {
  const shown = frames.filter(({ lines }, at) => at === 0 || lines.join("\n") !== frames[at - 1]!.lines.join("\n"))
  const height = 58 + 20 * Math.max(...shown.map(({ lines }) => lines.length))
  const total = shown.at(-1)!.at + LAST
  const style = shown.map(({ at }, index) => {
    const [from, to] = [at, shown[index + 1]?.at ?? total].map((time) => ((time / total) * 100).toFixed(2))
    return `@keyframes f${index}{0%,${from}%{opacity:0}${from}.01%,${to}%{opacity:1}${to}.01%,100%{opacity:0}}#f${index}{opacity:${index === shown.length - 1 ? 1 : 0};animation:f${index} ${total}ms step-end infinite}`
  })
  const groups = shown.map(
    ({ lines }, index) =>
      `<g id="f${index}">${lines
        .map((line, at) =>
          line === ""
            ? ""
            : `<text x="16" y="${54 + at * 20}" fill="#d6dbe3" xml:space="preserve">${escape(line)}</text>`
        )
        .join("")}</g>`
  )
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${COLUMNS * 8.5 + 32}" height="${height}" viewBox="0 0 ${COLUMNS * 8.5 + 32} ${height}" font-family="ui-monospace, Menlo, Consolas, monospace" font-size="14">
<style>${style.map((rule) => rule.replaceAll(/(\d+\.\d\d)\.01%/g, (_, from: string) => `${(Number(from) + 0.01).toFixed(2)}%`)).join("\n")}</style>
<rect width="100%" height="100%" rx="8" fill="#16181d"/>
<text x="16" y="30" fill="#8b949e" xml:space="preserve">$ pipe run ${flow} --simulate</text>
${groups.join("\n")}
</svg>
`
}

/** The views of the page that are shown, by their files. */
const views: ReadonlyArray<readonly [file: string, tab: string, ready: string]> = [
  ["page-rows.png", "rows", `document.querySelectorAll('.grid [role="row"]').length > 5`],
  ["page-money.png", "money", `document.querySelector(".chart canvas") !== null`],
  ["page-review.png", "review", `document.querySelector(".review") !== null`]
]

const photograph = async (): Promise<void> => {
  const server = spawn(process.execPath, [bin, "ui", "last", "--store", store], {
    cwd: root,
    stdio: ["ignore", "pipe", "inherit"]
  })
  const browser = await puppeteer.launch({ executablePath: chromium, args: ["--no-sandbox", "--disable-gpu"] })
  try {
    const address = await new Promise<string>((resolve) => {
      let said = ""
      server.stdout.on("data", (chunk: Buffer) => {
        said += String(chunk)
        const found = /http:\/\/127\.0\.0\.1:\S+/.exec(said)?.[0]
        if (found !== undefined) resolve(found)
      })
    })
    const page = await browser.newPage()
    await page.setViewport({ width: 1200, height: 640, deviceScaleFactor: 1 })
    await page.goto(address)
    for (const [file, tab, ready] of views) {
      await page.waitForSelector(".tabs a")
      await page.evaluate(`[...document.querySelectorAll(".tabs a")].find((a) => a.textContent === "${tab}").click()`)
      await page.waitForFunction(ready)
      await new Promise((done) => setTimeout(done, 500))
      await page.screenshot({ path: path.join(docs, file) as `${string}.png`, optimizeForSpeed: false })
    }
  } finally {
    await browser.close()
    server.kill()
  }
}

execFileSync("script", ["--version"], { stdio: "ignore" })
forget()
const frames = await record()
fs.writeFileSync(path.join(docs, "live-display.svg"), animated(frames))
await photograph()
forget()
console.log(`pictures: ${frames.length} frames of the terminal, and ${views.map(([file]) => file).join(", ")}`)
