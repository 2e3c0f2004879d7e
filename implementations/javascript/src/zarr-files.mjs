/** The files of a generation of a Zarr hierarchy, as a writer makes them without compression ([Z-4] to [Z-7]). */

import { hexDigest } from "./digest.mjs";
import { VERSION } from "./manifest.mjs";
import { DTYPES } from "./registry.mjs";
import { chunkKey, ROOT, ROW } from "./zarr.mjs";

const SMALL = 65_536;
const MANY = 1000;
const PACK = 2 ** 24;
const ALIGNED = 64;
const FILL = { bool: "false", integer: "0", float: "0.0", complex: "[0.0,0.0]" };
const GROUP = { zarr_format: 3, node_type: "group", attributes: {} };

const jsonBytes = (value) => Buffer.from(JSON.stringify(value));

/** The text of the metadata of an array; JSON numbers of JavaScript cannot say `0.0`. */
function arrayMetadata(dtype, shape, separator) {
  const { group, zarr, carrier, itemsize } = DTYPES.get(dtype);
  const fill = FILL[carrier === null ? group : "integer"];
  const endian = itemsize > 1 ? ',"configuration":{"endian":"little"}' : "";
  const chunks = shape.map((extent) => Math.max(extent, 1));
  const attributes = carrier === null ? "{}" : `{"statetree":{"dtype":"${dtype}"}}`;
  return Buffer.from(
    `{"zarr_format":3,"node_type":"array","shape":[${shape}],"data_type":"${zarr}",` +
      `"chunk_grid":{"name":"regular","configuration":{"chunk_shape":[${chunks}]}},` +
      `"chunk_key_encoding":{"name":"default","configuration":{"separator":"${separator}"}},` +
      `"fill_value":${fill},"codecs":[{"name":"bytes"${endian}}],"attributes":${attributes}}`,
  );
}

/** The root's text, which names the generation ([Z-1]). */
export function rootBytes({ manifest, manifestBytes, infoBytes }, generation) {
  const { algorithm } = manifest;
  const [manifestDigest, infoDigest] = [manifestBytes, infoBytes].map((bytes) => hexDigest(algorithm, bytes));
  const statetree = { version: VERSION, algorithm, generation, manifest: manifestDigest, info: infoDigest };
  return jsonBytes({ ...GROUP, attributes: { statetree } });
}

/**
 * Yields [name, bytes] of each file below a generation. Its own metadata comes first: by it a folder that an interrupted save leaves
 * is told to be a generation.
 */
export function* generationFiles({ manifest, manifestBytes, infoBytes, blocks, arrays }, mayPack) {
  yield [ROOT, jsonBytes(GROUP)];
  const small = mayPack ? arrays.flatMap((bytes, index) => (bytes.length > 0 && bytes.length < SMALL ? [index] : [])) : [];
  const packed = new Set(small.length > MANY ? small : []);
  if (packed.size > 0) yield* packFiles(small, arrays);
  yield [`arrays/${ROOT}`, jsonBytes(GROUP)];
  for (const [index, entry] of manifest.entries.entries()) if (!packed.has(index)) yield* arrayFiles(entry, arrays[index]);
  yield* singleFiles("manifest", manifestBytes);
  yield* singleFiles("info", infoBytes);
  yield* singleFiles("blocks", blocks);
}

function* arrayFiles({ name, dtype, shape }, bytes) {
  yield [`arrays/${name}/${ROOT}`, arrayMetadata(dtype, shape, ".")];
  if (bytes.length > 0) yield [`arrays/${name}/${chunkKey(0, shape.length, ".")}`, bytes];
}

/** A uint8 array in one chunk `c/0`. */
function* singleFiles(name, bytes) {
  yield [`${name}/${ROOT}`, arrayMetadata("uint8", [bytes.length], "/")];
  if (bytes.length > 0) yield [`${name}/c/0`, bytes];
}

/** Many small arrays in packs ([Z-7]). */
function* packFiles(small, arrays) {
  const { packs, index } = arrange(small, arrays);
  yield [`packs/${ROOT}`, jsonBytes(GROUP)];
  for (const [number, pack] of packs.entries()) yield* singleFiles(`packs/${number}`, Buffer.concat(pack));
  yield* singleFiles("packs/index", index);
}

/** Packs of at most 16 MiB, as lists of bytes, and their index. */
function arrange(small, arrays) {
  const index = Buffer.alloc(ROW * arrays.length);
  const packs = [[]];
  let end = 0;
  for (const at of small) {
    const { length } = arrays[at];
    let start = Math.ceil(end / ALIGNED) * ALIGNED;
    if (start + length > PACK) {
      packs.push([]);
      [start, end] = [0, 0];
    }
    packs.at(-1).push(Buffer.alloc(start - end), arrays[at]);
    [packs.length, start, length].forEach((number, field) => index.writeBigUInt64LE(BigInt(number), ROW * at + 8 * field));
    end = start + length;
  }
  return { packs, index };
}
