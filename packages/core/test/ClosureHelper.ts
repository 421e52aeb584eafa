/** Helpers of an author's, in a module of their own. */
export const LIMIT = 5

export const config = { limit: 7, unused: 1 }

export const shorten = (text: string): string => text.slice(0, LIMIT)

export class Style {
  readonly word: string
  constructor(word: string) {
    this.word = word
  }
  of(text: string): string {
    return `${this.word} ${text}`
  }
}

export class Sealed {
  readonly #word = "x"
  get word(): string {
    return this.#word
  }
}
