/** Paths as text (section 5, [P-1]) and as labels, which make the names of arrays (section 7.1, [C-2]). */

import { kindOf } from "./tree.mjs";

const LARGE = 2n ** 53n;
const LABEL_LENGTH = 100;

/** The text of a path: a list of keys, positions (as BigInts) and field names. */
export const pathText = (path) => path.map((key) => `/${keyText(key)}`).join("");

/** The name of array `index` of `count` that is first met at `path`. */
export function arrayName(index, count, path) {
  const digits = String(Math.max(count - 1, 0)).length;
  const label = cut(path.map(keyLabel).join(".")).replace(/\.+$/, "");
  return `${String(index).padStart(digits, "0")}-${label || "_"}`;
}

function keyText(key) {
  switch (kindOf(key)) {
    case "str":
      return /^[#:]/.test(key) ? `~s${escaped(key)}` : escaped(key);
    case "int":
      return `#${integer(key)}`;
    case "symbol":
      return `:${escaped(key.text)}`;
    case "null":
      return "~n";
    case "bool":
      return key ? "~t" : "~f";
    case "bytes":
      return `~b${Buffer.from(key).toString("hex")}`;
    default:
      return `~(${key.items.map((item) => `${elementText(item)},`).join("")})`;
  }
}

const escaped = (text) => text.replaceAll("~", "~0").replaceAll("/", "~1");

const integer = (number) => {
  const magnitude = number < 0n ? -number : number;
  return (number < 0n ? "-" : "") + (magnitude < LARGE ? magnitude.toString() : `x${magnitude.toString(16)}`);
};

/** In a tuple the texts of elements have their own commas and parentheses escaped; those of inner tuples already do. */
function elementText(key) {
  const text = keyText(key);
  return kindOf(key) === "tuple" ? text : text.replaceAll(",", "~2").replaceAll(")", "~3");
}

function keyLabel(key) {
  switch (kindOf(key)) {
    case "str":
      return label(key);
    case "symbol":
      return label(key.text);
    case "int":
      return label(integer(key));
    case "null":
      return "null";
    case "bool":
      return String(key);
    case "bytes":
      return cut(Buffer.from(key).toString("hex"));
    default:
      return cut(key.items.map(keyLabel).join("_"));
  }
}

const label = (text) => cut(text.replace(/[^A-Za-z0-9_-]/gu, "_"));

const cut = (text) => text.slice(0, LABEL_LENGTH);
