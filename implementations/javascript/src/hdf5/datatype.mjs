/** Datatypes of HDF5, told by the names of the dtypes that they stand for ([E-5]). */

import { refuse } from "../errors.mjs";
import { bytesFor } from "./bytes.mjs";

const CLASS = { fixed: 0, float: 1, compound: 6, enumeration: 8 };
const COMPLEX = 11;

/** Size, place of the sign, bit offset, precision, exponent (place, size), mantissa (place, size) and bias -> dtype. */
const FLOATS = new Map([
  ["2 15 0 16 10 5 0 10 15", "float16"],
  ["4 31 0 32 23 8 0 23 127", "float32"],
  ["8 63 0 64 52 11 0 52 1023", "float64"],
  ["2 15 0 16 7 8 0 7 127", "bfloat16"],
]);
const IMPLIED_LEADING_BIT = 0x20;

/**
 * The dtype that a datatype stands for; a number of another form is a text that no dtype has. Whatever is no number is `H5_DTYPE`
 * ([H-7]).
 */
export function dtypeOf(fields, place) {
  const start = fields.number(1);
  const bits = fields.take(3);
  const size = fields.number(4);
  const version = start >> 4;
  switch (start & 15) {
    case CLASS.fixed:
      return fixed(fields, bits, size);
    case CLASS.float:
      return float(fields, bits, size);
    case CLASS.compound:
      return compound(fields, version, bits.readUInt16LE(0), size, place);
    case CLASS.enumeration:
      return enumeration(fields, version, bits.readUInt16LE(0), place);
    case COMPLEX:
      return "complex numbers of a class of their own";
    default:
      return refuse("H5_DTYPE", "numbers", `a datatype of class ${start & 15}`, { place });
  }
}

function fixed(fields, bits, size) {
  const [offset, precision] = fields.numbers(2, 2);
  const plain = (bits[0] & 7) === 0 && offset === 0 && precision === 8 * size;
  return plain ? `${bits[0] & 8 ? "int" : "uint"}${precision}` : "integers of another form";
}

function float(fields, bits, size) {
  const form = [...fields.numbers(2, 2), ...fields.numbers(4, 1), fields.number(4)];
  const name = FLOATS.get([size, bits[1], ...form].join(" "));
  return bits[0] === IMPLIED_LEADING_BIT && name !== undefined ? name : "floating point of another form";
}

/** A complex number: `r`, then `i`, both of one float and nothing between. */
function compound(fields, version, count, size, place) {
  const members = Array.from({ length: Math.min(count, 3) }, () => member(fields, version, size, place));
  const [real, imaginary] = members;
  const isComplex = members.map(({ name }) => name).join() === "r,i" && real.offset === 0 && imaginary.offset === size / 2;
  if (!isComplex) refuse("H5_DTYPE", "a compound of r and i", "another", { place });
  const parts = `float${4 * size}`;
  return real.dtype === parts && imaginary.dtype === parts ? `complex${8 * size}` : "complex numbers of another form";
}

function member(fields, version, size, place) {
  const name = fields.text(version < 3);
  const offset = fields.number(version < 3 ? 4 : bytesFor(size));
  if (version === 1) fields.skip(28);
  return { name, offset, dtype: dtypeOf(fields, place) };
}

/** A bool: int8 with FALSE and TRUE, in either order. */
function enumeration(fields, version, count, place) {
  const base = dtypeOf(fields, place);
  const names = Array.from({ length: Math.min(count, 3) }, () => fields.text(version < 3));
  const members = base === "int8" ? names.map((name) => `${name}=${fields.number(1)}`) : [];
  if (members.sort().join() !== "FALSE=0,TRUE=1") refuse("H5_DTYPE", "an enumeration of FALSE and TRUE", "another", { place });
  return "bool";
}
