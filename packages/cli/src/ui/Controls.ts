/** What controls a terminal, or the direction of text: shown as a sign, because nothing is cut out of a text. */

// oxlint-disable-next-line no-control-regex -- they are what is looked for
const CONTROLS = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g

export const visible = (text: string): string => text.replace(CONTROLS, "\ufffd")
