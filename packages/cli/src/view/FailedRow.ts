/** A failed row as text. */

export interface Failed {
  readonly position: string
  readonly node: string
  readonly message: string
}

/** `reviews.jsonl:7: verdict: …`. A message that begins with the position does not repeat it. */
export const text = ({ message, node, position }: Failed, error?: string): string => {
  const prefix = `${position}: `
  const said = message.startsWith(prefix) ? message.slice(prefix.length) : message
  return [position, node, ...(error === undefined ? [] : [error]), said].join(": ")
}
