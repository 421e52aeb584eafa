/** Which rows were seen, a bit each: a million rows are 125 KB. */
export interface RowSet {
  readonly add: (row: number) => void
  readonly size: () => number
  readonly clear: () => void
}

/** The rows of a page, and the words that hold them. */
const ROWS = 4_096
const WORD = 32

export const make = (): RowSet => {
  const pages = new Map<number, Uint32Array>()
  let size = 0
  return {
    add: (row) => {
      const number = Math.floor(row / ROWS)
      let page = pages.get(number)
      if (page === undefined) pages.set(number, (page = new Uint32Array(ROWS / WORD)))
      const at = row - number * ROWS
      const [word, bit] = [Math.floor(at / WORD), 1 << (at % WORD)]
      if ((page[word]! & bit) !== 0) return
      page[word] = page[word]! | bit
      size++
    },
    size: () => size,
    clear: () => {
      pages.clear()
      size = 0
    }
  }
}
