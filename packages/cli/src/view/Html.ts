/** Escapes text for HTML: nothing in a row or an answer can become markup. */

import * as SafeText from "@pipe/core/internal/SafeText"

const entities: { readonly [character: string]: string } = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;"
}

/** The beginning of all our pages. A file that begins like this may be replaced. */
export const start =
  '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="generator" content="pipe"><meta name="viewport" content="width=device-width, initial-scale=1">'

/** Text for an element or a quoted attribute. */
export const escape = (text: string): string =>
  SafeText.terminal(text).replace(/[&<>"']/g, (character) => entities[character]!)

/** JSON for a `<script>`: no tag, comment or line separator can end it. */
export const json = (value: unknown): string =>
  JSON.stringify(value).replace(
    /[<>\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`
  )
