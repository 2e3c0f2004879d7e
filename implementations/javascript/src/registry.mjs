/** The machine-readable part of the specification: dtypes ([E-1]), errors ([R-2]) and limits ([L-1]), as data. */

import { readFileSync } from "node:fs";

const FOLDER = new URL("../../../spec/statetree_spec/registry/", import.meta.url);

const registry = (name) => JSON.parse(readFileSync(new URL(`${name}.json`, FOLDER), "utf8"));

/** Code -> class. */
export const CODES = new Map(Object.entries(registry("errors").codes).map(([code, entry]) => [code, entry.class]));

/** Name -> {name, group, bits, itemsize, zarr, carrier}. */
export const DTYPES = new Map(registry("dtypes").dtypes.map((dtype) => [dtype.name, dtype]));

const DEFAULTS = Object.fromEntries(registry("limits").limits.map((limit) => [limit.name, limit.default]));

/** The limits of a reader: the defaults of the registry, with the numbers that the caller gives in their place. */
export function limitsWith(given = {}) {
  const numbers = Object.entries(given).filter(([, number]) => number !== null && number !== undefined);
  return { ...DEFAULTS, ...Object.fromEntries(numbers), depth: DEFAULTS.depth, rank: DEFAULTS.rank };
}
