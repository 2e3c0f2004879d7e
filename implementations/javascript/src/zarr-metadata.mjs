/** The metadata of groups and arrays of Zarr 3, as far as the format allows them ([Z-5], [Z-9]). */

import { refuse, shown } from "./errors.mjs";
import { JsonNumber, parseLoosely } from "./json.mjs";
import { DTYPES } from "./registry.mjs";

export const MAX_METADATA = 2 ** 20;

const GROUP = ["zarr_format", "node_type", "attributes"];
const ARRAY = [
  ...GROUP, "shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "codecs", "storage_transformers", "dimension_names",
];
const NEEDED = ["shape", "data_type", "chunk_grid", "chunk_key_encoding", "codecs"];
const EXTENSION = new Set(["name", "configuration", "must_understand"]);
const COMPRESSIONS = new Set(["gzip", "zstd"]);
const KNOWN = new Set(["bytes", "crc32c", ...COMPRESSIONS]);
const ELSEWHERE = new Set(["sharding_indexed", "transpose"]);
const ROUNDING = new Set(["bitround", "fixedscaleoffset", "quantize", "zfpy", "zfp", "astype", "cast_value", "scale_offset"]);

const wrong = (expected, found, place) => refuse("Z_METADATA", expected, found, { place });

/** The members of the metadata of a node of a type: `group` or `array`. */
export function parseMetadata(bytes, type, place) {
  const members = parseLoosely(bytes, place);
  if (!(members instanceof Map)) wrong("an object", "another value", place);
  judgeFormat(members.get("zarr_format"), place);
  if (members.get("node_type") !== type) wrong(`the node type ${type}`, shown(members.get("node_type")), place);
  const defined = type === "group" ? GROUP : ARRAY;
  for (const [name, value] of members) {
    const mayBeIgnored = value instanceof Map && value.get("must_understand") === false;
    if (!defined.includes(name) && !mayBeIgnored) wrong("members that Zarr defines", shown(name), place);
  }
  if (members.has("attributes") && !(members.get("attributes") instanceof Map)) wrong("an object as attributes", "another", place);
  return members;
}

function judgeFormat(format, place) {
  if (format instanceof JsonNumber) refuse("JSON_NUMBER_FORM", "an integer as zarr_format", shown(format.text), { place });
  if (typeof format !== "number" && typeof format !== "bigint") wrong("an integer as zarr_format", shown(format), place);
  if (format !== 3) refuse("Z_FORMAT", "Zarr format 3", shown(format), { place });
}

/**
 * How the array of a dtype and shape is stored: `rows` of the first axis in a chunk, `separator`, `compression` (or empty) and
 * `checked`, if a CRC-32C follows.
 */
export function arrayLayout(bytes, { dtype, shape }, place) {
  const members = parseMetadata(bytes, "array", place);
  for (const name of NEEDED) if (!members.has(name)) wrong(`a member ${name}`, "none", place);
  const { zarr, itemsize, carrier, group } = DTYPES.get(dtype);
  judgeAgreement(members, shape, zarr, place);
  judgeAttribute(members.get("attributes") ?? new Map(), carrier === null ? null : dtype, place);
  judgeFill(members.get("fill_value"), carrier === null ? group : "integer", place);
  judgeTransformers(members.get("storage_transformers"), place);
  const rows = chunkRows(members.get("chunk_grid"), shape, place);
  return { rows, separator: separatorOf(members.get("chunk_key_encoding"), place), ...codecsOf(members.get("codecs"), itemsize, place) };
}

/** The size and layout of a uint8 array in one chunk `c/0`: a text, a pack, or the index of packs ([Z-4], [Z-7]). */
export function singleLayout(bytes, place) {
  const shape = parseMetadata(bytes, "array", place).get("shape");
  if (!Array.isArray(shape) || shape.length !== 1 || !isExtent(shape[0])) wrong("one dimension", shown(shape), place);
  const layout = arrayLayout(bytes, { dtype: "uint8", shape }, place);
  if (layout.rows < shape[0]) wrong("one chunk", "more", place);
  if (layout.separator !== "/") wrong("the separator /", shown(layout.separator), place);
  if (layout.checked) wrong("no crc32c", "one", place);
  return { size: shape[0], compression: layout.compression };
}

const isExtent = (value) => Number.isSafeInteger(value) && value >= 0;

function judgeAgreement(members, shape, dataType, place) {
  const found = members.get("shape");
  const same = Array.isArray(found) && found.length === shape.length && found.every((extent, axis) => extent === shape[axis]);
  if (!same) refuse("BACKEND_MISMATCH", `shape ${shape}`, shown(found), { place });
  if (members.get("data_type") !== dataType) {
    refuse("BACKEND_MISMATCH", `data type ${dataType}`, shown(members.get("data_type")), { place });
  }
}

/** The attribute that names a dtype whose elements are stored as those of another. */
function judgeAttribute(attributes, dtype, place) {
  const found = attributes.get("statetree");
  if (dtype === null && !attributes.has("statetree")) return;
  if (dtype === null || !(found instanceof Map) || found.size !== 1 || found.get("dtype") !== dtype) {
    const expected = dtype === null ? "no attribute statetree" : `the attribute statetree with the dtype ${dtype}`;
    refuse("BACKEND_MISMATCH", expected, "another", { place });
  }
}

function judgeFill(fill, group, place) {
  const isFloat = (value) => value === 0 || (value instanceof JsonNumber && Object.is(Number(value.text), 0) && value.text !== "-0");
  const right = {
    bool: fill === false,
    integer: fill === 0,
    float: isFloat(fill),
    complex: Array.isArray(fill) && fill.length === 2 && fill.every(isFloat),
  }[group];
  if (!right) refuse("Z_FILL", "a fill value of zero", "another", { place });
}

function judgeTransformers(transformers, place) {
  if (transformers === undefined) return;
  if (!Array.isArray(transformers)) wrong("a list of storage transformers", "another value", place);
  if (transformers.length > 0) refuse("Z_CODEC", "no storage transformers", "some", { place });
}

/** The configuration of an extension: an object with a name and perhaps a configuration. */
function extension(value, place) {
  const named = value instanceof Map && typeof value.get("name") === "string";
  if (!named) wrong("an object with a name", "another value", place);
  const configuration = value.has("configuration") ? value.get("configuration") : new Map();
  const known = [...value.keys()].every((name) => EXTENSION.has(name));
  if (!known || !(configuration instanceof Map)) wrong("a name and a configuration", shown([...value.keys()]), place);
  return { name: value.get("name"), configuration };
}

function onlyMembers(configuration, names, place) {
  const other = [...configuration.keys()].find((name) => !names.includes(name));
  if (other !== undefined) wrong(`no other members than ${names}`, shown(other), place);
}

function chunkRows(value, shape, place) {
  const { name, configuration } = extension(value, place);
  if (name !== "regular") wrong("a regular chunk grid", shown(name), place);
  onlyMembers(configuration, ["chunk_shape"], place);
  const chunk = configuration.get("chunk_shape");
  const fits = Array.isArray(chunk) && chunk.length === shape.length && chunk.every((extent) => isExtent(extent) && extent > 0);
  const longest = shape.map((extent) => Math.max(extent, 1));
  if (!fits || !chunk.every((extent, axis) => (axis === 0 ? extent <= longest[0] : extent === longest[axis]))) {
    wrong("chunks that divide the first axis only", shown(chunk), place);
  }
  return chunk[0] ?? 1;
}

function separatorOf(value, place) {
  const { name, configuration } = extension(value, place);
  if (name !== "default") wrong("the default chunk key encoding", shown(name), place);
  onlyMembers(configuration, ["separator"], place);
  const separator = configuration.has("separator") ? configuration.get("separator") : "/";
  if (separator !== "." && separator !== "/") wrong("the separator . or /", shown(separator), place);
  return separator;
}

function codecsOf(value, itemsize, place) {
  if (!Array.isArray(value)) wrong("a list of codecs", "another value", place);
  const codecs = value.map((codec) => extension(codec, place));
  for (const { name } of codecs) judgeCodec(name, place);
  const names = codecs.map(({ name }) => name);
  const rest = names.slice(1);
  const compression = COMPRESSIONS.has(rest[0]) ? rest.shift() : "";
  const checked = rest[0] === "crc32c";
  if (checked) rest.shift();
  if (names[0] !== "bytes" || rest.length > 0) wrong("bytes, then a compression, then crc32c", shown(names), place);
  judgeOrderOfBytes(codecs[0].configuration, itemsize, place);
  return { compression, checked };
}

function judgeCodec(name, place) {
  if (KNOWN.has(name)) return;
  if (ROUNDING.has(name.split(".").at(-1))) refuse("Z_LOSSY_CODEC", "codecs that keep every bit", shown(name), { place });
  if (ELSEWHERE.has(name)) wrong("bytes, gzip, zstd and crc32c", shown(name), place);
  refuse("Z_CODEC", "bytes, gzip, zstd and crc32c", shown(name), { place });
}

function judgeOrderOfBytes(configuration, itemsize, place) {
  onlyMembers(configuration, ["endian"], place);
  if (!configuration.has("endian") && itemsize === 1) return;
  if (configuration.get("endian") !== "little") wrong("little-endian bytes", shown(configuration.get("endian")), place);
}
