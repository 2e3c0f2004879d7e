/** A walk over all documents of a BSON file, as a validator does it ([B-8]). */

import { isZero } from "./block.mjs";
import { judgeText, PIECE, TEXTS, textPieces } from "./bson.mjs";
import { MAX_DOCUMENT, parseDocument, valuesOf } from "./documents.mjs";
import { refuse, shown } from "./errors.mjs";

const ALIGNED = 64;

export function validateBson(reader, { version, entries }) {
  for (const found of [reader.headerVersion, reader.header.version]) {
    if (found !== version) refuse("BACKEND_MISMATCH", `version ${version}`, found, { place: "header" });
  }
  const walk = new Walk(reader, entries);
  for (let row = 0; row < reader.header.rows; row++) walk.data(row);
  for (const name of TEXTS) walk.text(name);
  if (walk.at !== reader.end) chunks("the trailer behind the manifest", `bytes at ${walk.at}`, "trailer");
}

const chunks = (expected, found, place) => refuse("BSON_CHUNKS", expected, found, { place });

class Walk {
  constructor(reader, entries) {
    this.reader = reader;
    this.entries = entries;
    this.at = reader.start;
  }

  /** The bytes of the next document and where they begin. */
  next(place) {
    const { file, end } = this.reader;
    const start = this.at;
    const length = start + 4 <= end ? file.read(start, 4).readInt32LE(0) : 0;
    if (length < 5 || start + length > end) refuse("BSON_FRAMING", "a document before the trailer", `${length} bytes`, { place });
    if (length >= MAX_DOCUMENT) chunks("a document below 16 MiB", `${length} bytes`, place);
    this.at += length;
    return { start, bytes: file.read(start, length) };
  }

  data(at) {
    const row = this.reader.row(at);
    const entry = this.entries[row.array];
    const { start, bytes } = this.next(entry.name);
    const values = valuesOf(parseDocument(bytes, entry.name), this.dataForm(), entry.name);
    if (values.array !== row.array || values.n !== row.n) {
      chunks(`array ${row.array}, piece ${row.n}`, `${values.array}, ${values.n}`, entry.name);
    }
    this.judgeEntry(values, entry);
    const payload = judgePlace(start + bytes.length, values, entry.name);
    if (payload !== row.offset || values.data.length !== row.size) {
      chunks(`${row.size} bytes at ${row.offset}`, `${values.data.length} at ${payload}`, entry.name);
    }
  }

  dataForm() {
    const compression = this.reader.header.compression === "" ? {} : { compression: "string" };
    return { array: "int32", n: "int32", name: "string", dtype: "string", shape: "array", ...compression, pad: "binary", data: "binary" };
  }

  judgeEntry(values, { name, dtype, shape }) {
    const wrong = values.shape.find(({ type }) => type !== "int64");
    if (wrong !== undefined) refuse("BSON_TYPE", "int64 as extents", wrong.type, { place: name });
    const found = [values.name, values.dtype, values.compression ?? "", values.shape.map(({ value }) => value).join()];
    const wanted = [name, dtype, this.reader.header.compression, shape.join()];
    ["name", "dtype", "compression", "shape"].forEach((member, at) => {
      if (found[at] !== wanted[at]) refuse("BACKEND_MISMATCH", `${member} ${wanted[at]}`, shown(found[at]), { place: name });
    });
  }

  text(name) {
    const { offset, size } = this.reader.header[name];
    if (this.at !== offset) chunks(`${name} behind what is before it`, `offset ${offset}`, name);
    for (let n = 0; n < textPieces(size); n++) {
      const { start, bytes } = this.next(name);
      const values = judgeText(bytes, name, n, Math.min(PIECE, size - n * PIECE));
      judgePlace(start + bytes.length, values, name);
    }
  }
}

/** The offset of the payload of a document that ends at `end`: its pad takes it to a multiple of 64, not further ([B-3]). */
function judgePlace(end, { pad, data }, place) {
  const payload = end - 1 - data.length;
  if (pad.length >= ALIGNED || payload % ALIGNED !== 0 || !isZero(pad)) {
    chunks("a pad of zeros up to a multiple of 64", `${pad.length} bytes`, place);
  }
  return payload;
}
