/**
 * Shares of a whole, for people.
 *
 * @internal
 */

/** A part of a whole in percent, to a tenth. */
export const format = (share: number): string => `${(share * 100).toFixed(1)} %`
