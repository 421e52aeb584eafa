/** What is known of models: settings, prompt caches, tokens of files; the data and what is computed from it. */
import { assert, describe, it } from "@effect/vitest"
import { ModelRequest, TokenCounter } from "@pipe/core"
import * as fc from "fast-check"
import { deflateSync } from "node:zlib"
import * as FileMeasures from "../src/file/FileMeasures.ts"
import * as FileTokens from "../src/model/FileTokens.ts"
import { knownModels } from "../src/model/known/KnownModels.ts"
import * as ModelFacts from "../src/model/ModelFacts.ts"
import * as PromptCacheMinimum from "../src/price/PromptCacheMinimum.ts"

describe("what is known of models", () => {
  it("is plain data, with each name once", () => {
    assert.deepStrictEqual(JSON.parse(JSON.stringify(knownModels)), knownModels)
    const names = knownModels.flatMap(({ models }) => models)
    assert.strictEqual(new Set(names).size, names.length)
    // A value of the effort is a default only if the model takes it.
    for (const { efforts, models } of knownModels)
      if (efforts?.default !== undefined) assert.include(efforts.values, efforts.default, models[0])
  })

  it("is found by names with dates and makers, and not by names of newer generations", () => {
    const luna = ModelFacts.of("gpt-6-luna")
    assert.isDefined(luna)
    for (const name of ["gpt-6-luna-2026-10-01", "openai/gpt-6-luna"]) assert.strictEqual(ModelFacts.of(name), luna)
    for (const name of ["gpt-6.3-luna", "gpt-7", "claude-haiku-6", "gpt-6-lunatic", "llama3.2", ""])
      assert.isUndefined(ModelFacts.of(name), name)
    assert.notStrictEqual(ModelFacts.of("gpt-5-mini"), ModelFacts.of("gpt-5"))
  })

  it("says which settings are refused, and when", () => {
    // developers.openai.com/api/docs/guides/deployment-checklist: sampling is removed unless the effort is none.
    assert.deepStrictEqual(ModelFacts.refused("gpt-6-luna", { temperature: 0, topP: 0.5, topLogprobs: 0 }), [
      "temperature",
      "topP",
      "topLogprobs"
    ])
    assert.deepStrictEqual(
      ModelFacts.refused("gpt-6-luna", { temperature: 0, topLogprobs: 0, reasoningEffort: "none" }),
      []
    )
    // The model page of GPT-5.4: its default effort is none.
    assert.deepStrictEqual(ModelFacts.refused("gpt-5.4", { temperature: 0 }), [])
    assert.deepStrictEqual(ModelFacts.refused("gpt-5.4", { temperature: 0, reasoningEffort: "low" }), ["temperature"])
    // GPT-6.1 Sol takes no effort of none, so it always thinks.
    assert.deepStrictEqual(ModelFacts.refused("gpt-6.1-sol", { temperature: 0, reasoningEffort: "none" }), [
      "temperature",
      "reasoningEffort"
    ])
    // platform.claude.com, migration guide of Haiku 5.5: a temperature of 1 is accepted.
    assert.deepStrictEqual(ModelFacts.refused("claude-haiku-5-5", { temperature: 1 }), [])
    assert.deepStrictEqual(ModelFacts.refused("claude-haiku-5-5", { temperature: 0.2 }), ["temperature"])
    assert.deepStrictEqual(ModelFacts.refused("claude-haiku-4-5", { temperature: 0.2, topP: 0.9 }), ["topP"])
    assert.deepStrictEqual(ModelFacts.refused("claude-haiku-4-5", { topP: 0.9 }), [])
    for (const model of ["gpt-4o-mini", "claude-opus-4-6", "llama3"])
      assert.deepStrictEqual(ModelFacts.refused(model, { temperature: 0, topP: 0.5 }), [], model)
  })

  it("leaves nothing in a request that it would say again", () => {
    const settings = fc.record(
      {
        temperature: fc.constantFrom(0, 0.5, 1),
        topP: fc.constantFrom(0.5, 1),
        topLogprobs: fc.constantFrom(0, 3),
        reasoningEffort: fc.constantFrom("none", "minimal", "low", "medium", "high", "xhigh", "max", "other"),
        presencePenalty: fc.constantFrom(0, 1),
        stop: fc.constant(["x"]),
        parallelToolCalls: fc.boolean()
      },
      { requiredKeys: [] }
    )
    const models = knownModels.flatMap(({ models }) => models)
    fc.assert(
      fc.property(fc.constantFrom(...models), settings, (model, settings) => {
        const request = ModelRequest.completion({ model, messages: [], settings })
        const fitted = ModelFacts.fit(request)
        assert.deepStrictEqual(ModelFacts.leftOut(fitted), [])
        assert.strictEqual(ModelFacts.fit(fitted), fitted)
        const isUnsaid = settings.reasoningEffort === "none" && ModelFacts.of(model)?.efforts?.values.length === 0
        assert.strictEqual(
          ModelFacts.leftOut(request).length + (isUnsaid ? 1 : 0),
          Object.keys(settings).length - Object.keys(fitted.settings).length
        )
        assert.deepStrictEqual(request.settings, settings)
      })
    )
  })

  it("has the minima of Claude 5, and the writes of GPT-5.6 and later", () => {
    // platform.claude.com/docs/en/build-with-claude/prompt-caching#cache-limitations, 2026-10-08.
    for (const model of [
      "claude-opus-5",
      "claude-opus-5-5",
      "claude-sonnet-5-5",
      "claude-haiku-5-5",
      "claude-fable-5-1"
    ])
      assert.strictEqual(PromptCacheMinimum.ruleOf("anthropic", model)?.minimum, 512, model)
    assert.strictEqual(PromptCacheMinimum.ruleOf("anthropic", "claude-sonnet-5")?.minimum, 1_024)
    assert.strictEqual(PromptCacheMinimum.ruleOf("anthropic", "claude-unknown-9")?.minimum, 4_096)
    assert.isTrue(PromptCacheMinimum.ruleOf("openai", "gpt-5.6-luna")?.isWritten)
    assert.isUndefined(PromptCacheMinimum.ruleOf("openai", "gpt-5.5")?.isWritten)
  })
})

const image = (model: string, width: number, height: number) => FileTokens.ofImage(model, { width, height }).most

describe("the tokens of an image", () => {
  it("are those of OpenAI's examples", () => {
    // developers.openai.com/api/docs/guides/images-vision, and the older page of the same formula.
    assert.strictEqual(image("gpt-4o", 1_024, 1_024), 765)
    assert.strictEqual(image("gpt-4o", 2_048, 4_096), 1_105)
    assert.strictEqual(image("gpt-4o-mini", 1_024, 1_024), 2_833 + 4 * 5_667)
    assert.strictEqual(image("gpt-4o", 128, 64), 255)
    // 1,024 patches fit; 1800 by 2400 is scaled to 1,452 of them. Each counts 1.62 times for GPT-4.1 mini.
    assert.strictEqual(image("gpt-4.1-mini", 1_024, 1_024), Math.ceil(1_024 * 1.62))
    assert.strictEqual(image("gpt-4.1-mini", 1_800, 2_400), Math.ceil(1_452 * 1.62))
  })

  it("are those of Anthropic's examples", () => {
    // platform.claude.com/docs/en/build-with-claude/vision: before 4.7, and since.
    for (const [width, height, standard, large] of [
      [1_920, 1_080, 1_560, 2_691],
      [2_000, 1_500, 1_564, 3_888],
      [3_840, 2_160, 1_560, 4_784],
      [1_092, 1_092, 1_521, 1_521],
      [200, 200, 64, 64],
      [1_000, 1_000, 1_296, 1_296]
    ] as const) {
      assert.strictEqual(image("claude-haiku-4-5", width, height), standard, `${width} x ${height}`)
      assert.strictEqual(image("claude-haiku-5-5", width, height), large, `${width} x ${height}, large`)
    }
  })

  it("are never more than those of an image whose size is not known", () => {
    const side = fc.integer({ min: 1, max: 20_000 })
    for (const model of [
      "gpt-4o",
      "gpt-4o-mini",
      "gpt-4.1-mini",
      "gpt-5-nano",
      "gpt-5.5",
      "claude-opus-4-6",
      "claude-opus-5"
    ]) {
      const most = FileTokens.ofImage(model, undefined).most!
      fc.assert(
        fc.property(side, side, (width, height) => {
          const tokens = image(model, width, height)!
          assert.isAtLeast(tokens, 1)
          assert.isAtMost(tokens, most, `${model}: ${width} x ${height}`)
          // Turning an image changes nothing.
          assert.strictEqual(tokens, image(model, height, width))
        })
      )
    }
  })

  it("are not known where no rule is: nothing is made up", () => {
    for (const model of ["gpt-6.2-sol", "llama3", "gpt-6-luna"])
      assert.deepStrictEqual(FileTokens.ofImage(model, { width: 10, height: 10 }), {})
    // An estimate is no bound.
    assert.deepStrictEqual(FileTokens.ofImage("gemini-3.6-flash", { width: 10, height: 10 }), { expected: 1_120 })
    assert.isUndefined(FileTokens.ofImage("gpt-5.6-luna", undefined).most)
  })
})

/** A PNG file of a size, whose pixels do not matter. */
const png = (width: number, height: number): Uint8Array => {
  const header = Buffer.alloc(25)
  header.writeUInt32BE(13, 0)
  header.write("IHDR", 4, "latin1")
  header.writeUInt32BE(width, 8)
  header.writeUInt32BE(height, 12)
  return Buffer.concat([Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]), header])
}

const file = (mediaType: string, data: Uint8Array | string) => ({
  type: "file" as const,
  mediaType,
  data: typeof data === "string" ? data : Buffer.from(data).toString("base64"),
  options: {}
})

describe("the size of an image", () => {
  const png = (chunk: string, width: number, height: number) => {
    const head = Buffer.alloc(33)
    head.write("\x89PNG\r\n\x1a\n", 0, "latin1")
    head.writeUInt32BE(13, 8)
    head.write(chunk, 12)
    head.writeUInt32BE(width, 16)
    head.writeUInt32BE(height, 20)
    return head
  }
  const segment = (marker: number, content: Buffer) => {
    const head = Buffer.from([0xff, marker, 0, 0])
    head.writeUInt16BE(content.length + 2, 2)
    return Buffer.concat([head, content])
  }
  const frame = (width: number, height: number) => {
    const content = Buffer.from([8, 0, 0, 0, 0, 1, 1, 0x11, 0])
    content.writeUInt16BE(height, 1)
    content.writeUInt16BE(width, 3)
    return content
  }
  const gif = (screen: number, size: number) => {
    const file = Buffer.concat([Buffer.from("GIF89a"), Buffer.alloc(7), Buffer.alloc(10), Buffer.from([2, 0, 0x3b])])
    file.writeUInt16LE(screen, 6)
    file.writeUInt16LE(screen, 8)
    file[13] = 0x2c
    file.writeUInt16LE(size, 18)
    file.writeUInt16LE(size, 20)
    return file
  }
  const start = Buffer.from([0xff, 0xd8])

  it("is that of its header", () => {
    assert.deepStrictEqual(FileMeasures.imageSize(png("IHDR", 640, 480)), { width: 640, height: 480 })
    const exif = segment(0xe1, Buffer.concat([Buffer.alloc(20), segment(0xc0, frame(1, 1))]))
    for (const marker of [0xc0, 0xc1, 0xc2, 0xc3, 0xc9])
      assert.deepStrictEqual(FileMeasures.imageSize(Buffer.concat([start, exif, segment(marker, frame(640, 480))])), {
        width: 640,
        height: 480
      })
    assert.deepStrictEqual(FileMeasures.imageSize(gif(640, 1)), { width: 640, height: 640 })
  })

  it("is the largest that a decoder may see, or not known", () => {
    // Chromium shows 1,400 by 1,400 pixels: fill bytes may precede a marker (ITU T.81, B.1.1.2).
    const hidden = segment(0xe4, Buffer.concat([Buffer.alloc(200), segment(0xc0, frame(1, 1))]))
    const filled = Buffer.concat([start, Buffer.from([0xff]), hidden, segment(0xc0, frame(1_400, 1_400))])
    assert.deepStrictEqual(FileMeasures.imageSize(filled), { width: 1_400, height: 1_400 })
    // The frame of a GIF may be larger than its screen.
    assert.deepStrictEqual(FileMeasures.imageSize(gif(1, 1_400)), { width: 1_400, height: 1_400 })
    for (const odd of [
      png("CgBI", 1, 1),
      Buffer.concat([start, Buffer.from([0xff, 0xe0, 0, 4]), Buffer.alloc(1_000_000)]),
      Buffer.from("BM not one of the four"),
      Buffer.alloc(0)
    ])
      assert.isUndefined(FileMeasures.imageSize(odd))
    const whole = Buffer.concat([start, hidden, segment(0xc0, frame(9, 9))])
    for (const file of [whole, png("IHDR", 9, 9), gif(9, 9)])
      for (let cut = 0; cut < file.length; cut++) FileMeasures.imageSize(file.subarray(0, cut))
  })
})

describe("a file in a prompt", () => {
  it("is measured by its bytes, and counted with its text", () => {
    const part = file("image/png", png(1_024, 1_024))
    const request = ModelRequest.completion({
      model: "gpt-4o",
      messages: [{ role: "user", content: [{ type: "text", text: "What is this?", options: {} }, part] }] as never
    })
    const without = ModelRequest.completion({ model: "gpt-4o", messages: [{ role: "user", content: "What is this?" }] })
    assert.strictEqual(
      TokenCounter.inputTokens(TokenCounter.estimate, request)
        - TokenCounter.inputTokens(TokenCounter.estimate, without),
      765
    )
    const cuts = Array.from({ length: 24 }, (_, length) =>
      Buffer.from(png(9, 9).subarray(0, length)).toString("base64")
    )
    for (const broken of ["", "AAAA", "not base64 at all", ...cuts])
      assert.strictEqual(FileTokens.of("gpt-4o", file("image/png", broken)).most, 85 + 8 * 170, broken)
    assert.strictEqual(FileTokens.of("gpt-4o", file("image/png", "https://example.com/a.png")).most, 85 + 8 * 170)
  })

  it("has the pages of its document, in plain and in packed form", () => {
    const plain = Buffer.from("%PDF-1.4\n1 0 obj <</Type /Pages /Kids [2 0 R 3 0 R] /Count 7>> endobj\n%%EOF", "latin1")
    const packed = Buffer.concat([
      Buffer.from(
        "%PDF-1.5\n5 0 obj <</Type /ObjStm /N 2 /First 10 /Filter /FlateDecode /Length 60>>\nstream\n",
        "latin1"
      ),
      deflateSync(Buffer.from("1 0 2 20 <</Count 12 /Kids [3 0 R] /Type /Pages>>")),
      Buffer.from("\nendstream\nendobj\n%%EOF", "latin1")
    ])
    assert.strictEqual(FileMeasures.pdfPages(plain), 7)
    assert.strictEqual(FileMeasures.pdfPages(packed), 12)
    const nested = "%PDF-1.4\n1 0 obj <</Count 9 /Resources <</Font <</F 1>> >> /Type\n/Pages>> endobj"
    assert.strictEqual(FileMeasures.pdfPages(Buffer.from(nested)), 9)
    const inText = "%PDF-1.4\n1 0 obj <</Length 30>>\nstream\n<</Type /Pages /Count 99>>\nendstream endobj"
    assert.strictEqual(FileMeasures.pdfPages(Buffer.from(`${inText} 2 0 obj <</Type/Pages/Count 3>> endobj`)), 3)
    // Made to be slow to look through, or to unpack to more than memory holds.
    const bomb = deflateSync(Buffer.alloc(19e6, " "))
    const packedBomb = Buffer.concat([
      Buffer.from("<</Type /ObjStm>>\nstream\n"),
      bomb,
      Buffer.from("\nendstream endobj\n")
    ])
    for (const other of [
      "",
      "%PDF-1.4 no pages",
      "<html>/Type /Pages /Count 5",
      `%PDF-1.4 ${"/Count 1 ".repeat(200_000)}`,
      `%PDF-1.4 ${"<</Type /ObjStm>>\nstream\n".repeat(200_000)}`,
      `%PDF-1.4 ${inText.slice(9)}`,
      Buffer.concat([plain, packedBomb, packedBomb])
    ])
      assert.isUndefined(FileMeasures.pdfPages(typeof other === "string" ? Buffer.from(other) : other))
    // 1,500 to 3,000 tokens of text, and an image: platform.claude.com/docs/en/build-with-claude/pdf-support.
    const tokens = FileTokens.of("claude-haiku-4-5", file("application/pdf", plain))
    assert.deepStrictEqual(tokens, { expected: 7 * (3_000 + 1_568) })
  })

  it("has the seconds of its sound", () => {
    const wavOf = ({ format = 1, perSecond = 16_000, size = 32_000 } = {}) => {
      const wav = Buffer.alloc(44 + 32_000)
      wav.write("RIFF", 0)
      wav.write("WAVEfmt ", 8)
      wav.writeUInt32LE(16, 16)
      wav.writeUInt16LE(format, 20)
      wav.writeUInt16LE(1, 22)
      wav.writeUInt32LE(8_000, 24)
      wav.writeUInt32LE(perSecond, 28)
      wav.writeUInt16LE(2, 32)
      wav.writeUInt16LE(16, 34)
      wav.write("data", 36)
      wav.writeUInt32LE(size, 40)
      return wav
    }
    const wav = wavOf()
    const seconds = (bytes: Uint8Array, type = "audio/wav") => FileMeasures.soundSeconds(bytes, type)
    assert.strictEqual(seconds(wav), 2)
    // Written as a stream, and with a false rate: players read to the end, at the rate of the samples.
    for (const odd of [{ size: 0 }, { size: 0xffffffff }, { perSecond: 0xffffffff }])
      assert.strictEqual(seconds(wavOf(odd)), 2, JSON.stringify(odd))
    assert.isUndefined(seconds(wavOf({ format: 0x11 })))
    assert.isUndefined(seconds(Buffer.from("OggS"), "audio/mpeg"))
    // A token for 100 milliseconds: developers.openai.com/api/docs/guides/realtime-costs.
    assert.deepInclude(FileTokens.of("gpt-audio", file("audio/wav", wav)), { most: 20, isAudio: true })
    assert.isUndefined(FileTokens.of("gpt-4o", file("audio/wav", wav)).most)
    for (const cut of [0, 4, 11, 20, 43]) FileMeasures.soundSeconds(wav.subarray(0, cut), "audio/wav")
  })
})
