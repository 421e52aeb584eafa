/** The statistics of certified routings: exact tests, trained scores, and by simulation that the promise is kept. */
import { assert, describe, it } from "@effect/vitest"
import { Money } from "@pipe/core"
import * as Baselines from "../src/routing/tune/Baselines.ts"
import * as CandidateScores from "../src/routing/tune/CandidateScores.ts"
import type * as Observation from "../src/routing/tune/Observation.ts"
import * as Calibration from "../src/routing/tune/Calibration.ts"
import * as Certificate from "../src/routing/Certificate.ts"
import * as Routing from "../src/routing/Routing.ts"
import * as Scorer from "../src/routing/Scorer.ts"
import * as fc from "fast-check"
import * as Soak from "../../../test/Soak.ts"

/** Numbers at random, the same for a seed (mulberry32). */
const chance = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
}

const answers = (good: number, of: number): ReadonlyArray<number> =>
  Array.from({ length: of }, (_, at) => (at < of - good ? 0 : 1))

describe("Certificate", () => {
  it("is exact where all agree: 0.95^59 < 0.05 < 0.95^58", () => {
    assert.isTrue(Certificate.exceeds(answers(59, 59), 0.95, 0.05))
    assert.isFalse(Certificate.exceeds(answers(58, 58), 0.95, 0.05))
    assert.strictEqual(Certificate.leastRows(0.95, 0.05), 59)
  })

  it('has the one-sided bounds of Clopper and Pearson (R: binom.test(k, n, alternative = "greater")$conf.int)', () => {
    // qbeta(0.05, k, n - k + 1)
    for (const [k, n, bound] of [
      [95, 100, 0.8977],
      [8, 10, 0.4931],
      [290, 300, 0.9441],
      [1, 20, 0.00256]
    ] as const) {
      assert.closeTo(Certificate.lowerBound(answers(k, n), 0.05), bound, 4e-4, `${k} of ${n}`)
    }
    assert.strictEqual(Certificate.lowerBound([], 0.05), 0)
  })

  it("bets on values between, and is wrong no more often than it says", () => {
    const random = chance(7)
    // Mostly a little, sometimes much: a mean that a normal approximation would take too high.
    const draw = () => (random() < 0.05 ? 0 : 0.52 + 0.02 * random())
    const mean = 0.95 * 0.53
    const runs = 2_000
    let wrong = 0
    for (let run = 0; run < runs; run++) if (Certificate.exceeds(Array.from({ length: 60 }, draw), mean, 0.05)) wrong++
    assert.isAtMost(wrong / runs, 0.05)
    // It has power: a mean that is clearly lower is exceeded.
    assert.isTrue(Certificate.exceeds(Array.from({ length: 600 }, draw), 0.45, 0.05))
  })

  it("never certifies more than was seen, and more rows never certify less of it", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 120 }), fc.double({ min: 0, max: 1, noNaN: true }), (n, share) => {
        const k = Math.round(n * share)
        const bound = Certificate.lowerBound(answers(k, n), 0.05)
        assert.isAtMost(bound, k / n)
        assert.isAtLeast(Certificate.lowerBound(answers(2 * k, 2 * n), 0.05) + 2e-4, bound)
      })
    )
  })

  it("descends to the last that passes before the first that fails", () => {
    assert.strictEqual(
      Certificate.descend([1, 2, 3, 4, 5], (n) => n !== 4),
      3
    )
    assert.isUndefined(Certificate.descend([1, 2], () => false))
  })
})

describe("Scorer", () => {
  it("finds the weights of a logistic model", () => {
    const random = chance(1)
    const rows = Array.from({ length: 4_000 }, () => {
      const x = random() * 4 - 2
      const word = random() < 0.5 ? "a" : "b"
      const p = 1 / (1 + Math.exp(-(1.5 * x + (word === "a" ? 1 : -1))))
      return { features: { x, word }, target: random() < p ? 1 : 0 }
    })
    const scorer = Scorer.fit(rows)
    for (const [x, word, p] of [
      [0, "a", 0.731],
      [1, "b", 0.622],
      [-1, "a", 0.378]
    ] as const) {
      assert.closeTo(Scorer.score(scorer, { features: { x, word } }), p, 0.04)
    }
    // What it has not seen is the usual.
    assert.closeTo(Scorer.score(scorer, { features: {} }), 0.5, 0.1)
    assert.isFinite(Scorer.score(scorer, { features: { x: Number.NaN, word: "constructor", other: true } }))
  })

  it("learns from vectors, and gives the same from its JSON", () => {
    const random = chance(3)
    const rows = Array.from({ length: 600 }, () => {
      const vector = Array.from({ length: 16 }, () => random() - 0.5)
      const length = Math.hypot(...vector)
      const unit = vector.map((value) => value / length)
      return { features: {}, vector: unit, target: unit[3]! > 0 ? 1 : 0 }
    })
    const scorer = Scorer.fit(rows)
    const right = rows.filter((row) => (Scorer.score(scorer, row) > 0.5 ? 1 : 0) === row.target).length
    assert.isAbove(right / rows.length, 0.9)
    const again = JSON.parse(JSON.stringify(scorer))
    assert.strictEqual(Scorer.score(again, rows[0]!), Scorer.score(scorer, rows[0]!))
  })

  it("says the share where all rows are of one kind, with a doubt that grows smaller with their number", () => {
    const sure = (n: number) =>
      Scorer.score(Scorer.fit(Array.from({ length: n }, (_, at) => ({ features: { at }, target: 1 }))), {
        features: { at: 0 }
      })
    assert.isAbove(sure(10), 0.9)
    assert.isAbove(sure(100), sure(10))
    assert.isBelow(sure(100), 1)
  })
})

type Kind = "agreement" | "label" | "blind"

/** Rows of which the weak model fails the hard ones; its confidence tells a little of that, but for `blind`. */
const population = (kind: Kind, random: () => number): ReadonlyArray<Observation.Observation> =>
  Array.from({ length: 2_000 }, () => {
    const hardness = random()
    const weak = random() < (kind === "blind" ? 0.9 : 1 - 0.6 * hardness ** 2.5) ? 1 : 0
    const strong = kind === "label" ? (random() < 1 - 0.25 * hardness ? 1 : 0) : 1
    const row = { features: { length: Math.max(0, hardness + (random() - 0.5) * 0.4) } }
    const confidence = kind === "blind" ? random() : (weak === 1 ? 0.6 : 0.45) + random() * 0.4
    return {
      row,
      answers: [
        {
          model: "weak",
          cost: Money.perMillionTokens(0.1),
          judging: Money.zero,
          quality: weak,
          sample: { features: { ...row.features, confidence } }
        },
        { model: "strong", cost: Money.perMillionTokens(2), judging: Money.zero, quality: strong, sample: row }
      ]
    }
  })

/** What a policy keeps of the strong model's quality in the whole population. */
const keptBy = (policy: Routing.RoutingPolicy, rows: ReadonlyArray<Observation.Observation>): number => {
  let quality = 0
  let strong = 0
  for (const row of rows) {
    quality += CandidateScores.apply(policy, row).quality
    strong += row.answers[1]!.quality
  }
  return quality / strong
}

describe("Calibration", () => {
  const calibrations = Soak.times(120, 3_000)
  const target = 0.95

  /** Of this many samples with replacement from a population that is known: how many certify, and how many of those are wrong. */
  const simulate = (kind: Kind, rows: number, seed: number) => {
    const random = chance(seed)
    const all = population(kind, random)
    let certified = 0
    let broken = 0
    for (let run = 0; run < calibrations; run++) {
      const sample = Array.from({ length: rows }, () => all[Math.floor(random() * all.length)]!)
      const { policy } = Calibration.make(sample, { target, standard: kind === "label" ? "label" : "agreement" })
      if (policy === undefined) continue
      certified++
      if (keptBy(policy, all) < target) broken++
    }
    return { certified: certified / calibrations, broken: broken / calibrations }
  }

  // The bound is δ and three times the error of a share of this many.
  const most = 0.05 + 3 * Math.sqrt((0.05 * 0.95) / calibrations)

  it(`keeps its promise in ${calibrations} simulated calibrations by agreement, and certifies nearly always`, () => {
    const { broken, certified } = simulate("agreement", 250, 11)
    assert.isAtMost(broken, most)
    assert.isAtLeast(certified, 0.95)
  })

  it("keeps it by labels, where the strong model errs too", () => {
    const { broken, certified } = simulate("label", 300, 12)
    assert.isAtMost(broken, most)
    assert.isAtLeast(certified, 0.9)
  })

  it("keeps it where nothing tells which answers are right", () => {
    assert.isAtMost(simulate("blind", 250, 13).broken, most)
  })

  it("refuses to certify with too few rows, and says how many it takes", () => {
    const rows = population("agreement", chance(5)).slice(0, 98)
    const { policy, refused } = Calibration.make(rows, { target, standard: "agreement" })
    assert.isUndefined(policy)
    assert.include(refused, "98 rows are too few")
    // 59 rows that certify are three fifths of 99.
    assert.strictEqual(Calibration.leastSample({ target }), 99)
    assert.include(refused, "99")
  })

  it("refuses where the cheap model is no good, and names the strong one", () => {
    const random = chance(6)
    const rows = population("agreement", random)
      .slice(0, 300)
      .map((row) => ({
        ...row,
        answers: [{ ...row.answers[0]!, quality: random() < 0.1 ? 1 : 0 }, row.answers[1]!]
      }))
    const { policy, refused } = Calibration.make(rows, { target, standard: "agreement" })
    assert.isUndefined(policy)
    assert.match(refused!, /strong/)
  })

  it("has judges cost where the answer is judged, and not where the row decides", () => {
    const rows = population("agreement", chance(15))
      .slice(0, 400)
      .map((row) => ({
        ...row,
        answers: row.answers.map((answer) => ({ ...answer, judging: Money.perMillionTokens(1) }))
      }))
    const { candidates } = Calibration.make(rows, { target, standard: "agreement" })
    // 0.1 for the weak model, 2 for the strong one, 1 more for the judges of each row that is judged.
    for (const [by, each] of [
      ["row", (strong: number) => 0.1 * (1 - strong) + 2 * strong],
      ["answer", (strong: number) => 1.1 + 2 * strong]
    ] as const) {
      for (const { cost, strongShare } of candidates.find((candidate) => candidate.by === by)!.points)
        assert.closeTo(Number(cost) / 1e6, each(strongShare), 1e-5)
    }
  })

  it("prefers the model that is cheapest for the quality, of more than two rungs", () => {
    const random = chance(8)
    const rows = population("agreement", random)
      .slice(0, 600)
      .map(({ answers: [weak, strong], row }) => ({
        row,
        answers: [
          // A model that is always wrong, and one that is nearly always right at a fifth of the price.
          { ...weak!, model: "useless", cost: Money.perMillionTokens(0.05), judging: Money.zero, quality: 0 },
          {
            ...weak!,
            model: "good",
            cost: Money.perMillionTokens(0.4),
            judging: Money.zero,
            quality: random() < 0.985 ? 1 : 0
          },
          strong!
        ]
      }))
    const { certificate, policy } = Calibration.make(rows, { target, standard: "agreement" })
    assert.deepStrictEqual(
      policy?.rungs.map(({ model }) => model),
      ["good"]
    )
    assert.isTrue(certificate!.cost < certificate!.strongCost / 2n)
    assert.isAtLeast(certificate!.kept, target)
  })

  it("tells chance and length in hindsight: half of the gap is half of the rows", () => {
    const row = (weak: number, length: number) => ({
      row: { features: { length } },
      answers: [
        {
          model: "weak",
          cost: Money.perMillionTokens(0),
          judging: Money.zero,
          quality: weak,
          sample: { features: {} }
        },
        { model: "strong", cost: Money.perMillionTokens(1), judging: Money.zero, quality: 1, sample: { features: {} } }
      ]
    })
    // Four of ten are wrong, and they are the longest.
    const rows = Array.from({ length: 10 }, (_, at) => row(at < 6 ? 1 : 0, at))
    const [chance, length] = Baselines.of(rows, 0.8, ({ features }) => Number(features["length"]))
    assert.closeTo(chance!.strongShare, 0.5, 1e-9)
    assert.closeTo(length!.strongShare, 0.2, 1e-9)
    assert.strictEqual(Money.toUsd(chance!.cost), "0.0000005")
  })

  it("writes a routing that is read back as it was", () => {
    const rows = population("agreement", chance(9)).slice(0, 400)
    const { certificate, policy } = Calibration.make(rows, { target, standard: "agreement" })
    const routing: Routing.Routing = {
      version: 1,
      flow: "f",
      tunedAt: "2026-11-27T00:00:00.000Z",
      models: ["weak", "strong"],
      judges: [],
      sample: { rows: 400, seed: "pipe", upTo: "ab", spent: Money.perMillionTokens(5) },
      steps: { s: { key: "k", policy: policy!, certificate: certificate! } }
    }
    const text = Routing.encode(routing)
    assert.deepStrictEqual(JSON.parse(text).steps.s.certificate.cost, Money.toUsd(certificate!.cost))
    // A vector is one line.
    const own = { ...policy!.rungs[0]!.own, vector: [0.5, -1, 1e-7] }
    const withVector = Routing.encode({
      ...routing,
      steps: {
        s: { key: "[1, 2]", policy: { ...policy!, rungs: [{ model: "weak", own }] }, certificate: certificate! }
      }
    })
    assert.include(withVector, "[0.5,-1,1e-7]\n")
    assert.deepStrictEqual(JSON.parse(withVector).steps.s.policy.rungs[0].own.vector, [0.5, -1, 1e-7])
    assert.strictEqual(JSON.parse(withVector).steps.s.key, "[1, 2]")
    for (const row of rows.slice(0, 20)) {
      assert.deepStrictEqual(
        CandidateScores.apply(JSON.parse(text).steps.s.policy, row),
        CandidateScores.apply(policy!, row)
      )
    }
  })
})
