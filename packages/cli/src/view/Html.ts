/** Text inside HTML: nothing that a row or a model says can become markup. */

import * as SafeText from "@pipe/core/internal/SafeText"

const entities: { readonly [character: string]: string } = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;"
}

/** How every page of ours begins: a file that begins so may be replaced by another. */
export const start =
  '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="generator" content="pipe"><meta name="viewport" content="width=device-width, initial-scale=1">'

/** Text for an element or an attribute in quotes. */
export const escape = (text: string): string =>
  SafeText.terminal(text).replace(/[&<>"']/g, (character) => entities[character]!)

/** JSON for a `<script>`: no tag, comment or line end of another standard can end it. */
export const json = (value: unknown): string =>
  JSON.stringify(value).replace(
    /[<>\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`
  )
