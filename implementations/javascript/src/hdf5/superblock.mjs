/** The superblock of an HDF5 file, as far as the format asks for it ([H-1]). */

import { refuse } from "../errors.mjs";
import { Fields, NOWHERE } from "./bytes.mjs";

export const SIGNATURE = Buffer.from("894844460d0a1a0a", "hex");

const LONGEST = 96;
const PLACE = "superblock";

/** Superblock version -> where sizes of offsets and lengths, the base address, the end of file and the root group are. */
const FORMS = new Map([
  [0, { sizes: 13, base: 24, end: 40, root: 64 }],
  [1, { sizes: 13, base: 28, end: 44, root: 68 }],
  [2, { sizes: 9, base: 12, end: 28, root: 36 }],
  [3, { sizes: 9, base: 12, end: 28, root: 36 }],
]);

/** The start of the file, and the form that its version has, or undefined. */
function open(file) {
  const start = Buffer.alloc(LONGEST);
  file.read(0, Math.min(file.size, LONGEST)).copy(start);
  return { start, form: FORMS.get(start[8]) };
}

/** The address of the root group. */
export function rootAddress(file) {
  const { start, form } = open(file);
  return form === undefined ? NOWHERE : new Fields(start, "a superblock").skip(form.root).address();
}

export function judgeSuperblock(file) {
  const { start, form } = open(file);
  if (!start.subarray(0, 8).equals(SIGNATURE)) refuse("POLYGLOT", "the HDF5 signature", "other bytes", { place: PLACE });
  if (form === undefined) refuse("POLYGLOT", "a superblock of version 0 to 3", `${start[8]}`, { place: PLACE });
  if (start[form.sizes] !== 8 || start[form.sizes + 1] !== 8) refuse("POLYGLOT", "sizes of 8 bytes", "others", { place: PLACE });
  if (start.readBigUInt64LE(form.base) !== 0n) refuse("POLYGLOT", "the base address 0", "another", { place: PLACE });
  if (start[8] === 3 && start[11] & 5) refuse("CONTAINER_LOCKED", "a file that was closed", "one open for writing", { place: PLACE });
  judgeEnd(start.readBigUInt64LE(form.end), BigInt(file.size));
}

function judgeEnd(end, size) {
  if (size < end) refuse("CONTAINER_TRUNCATED", `${end} bytes`, `${size}`, { place: PLACE });
  if (size > end) refuse("POLYGLOT", `${end} bytes`, `${size}`, { place: PLACE });
}
