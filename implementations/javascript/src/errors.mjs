/** Refusals: each has a code and a class of the registry of errors (section 9, [R-2]). */

import { CODES } from "./registry.mjs";

/** A refusal; `path` is the text of a path in the tree ([P-1]), `place` says where in the container. */
export class Refusal extends Error {
  constructor(code, expected, found, { path = null, place = null, remedy = null } = {}) {
    super(sentence(expected, found, path, place, remedy));
    this.name = "Refusal";
    this.code = code;
    this.class = CODES.get(code);
    Object.assign(this, { expected, found, path, place, remedy });
  }
}

export function refuse(code, expected, found, where) {
  throw new Refusal(code, expected, found, where);
}

/** Text from a file as it may be shown to people: escaped and cut ([S-5]). */
export function shown(value) {
  const text = JSON.stringify(String(value)).replace(/[\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, escaped);
  return text.length > 80 ? `${text.slice(0, 77)}…"` : text;
}

const escaped = (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;

function sentence(expected, found, path, place, remedy) {
  const at = path === null ? "" : ` (at ${path || "the root"})`;
  const inside = place === null ? "" : ` (in ${place})`;
  return `expected ${expected}, got ${found}${at}${inside}${remedy === null ? "" : `: ${remedy}`}`;
}
