/** What a validator of a Zarr hierarchy judges beside what a reader does ([Z-11]). */

import { isZero } from "./block.mjs";
import { refuse, shown } from "./errors.mjs";
import { JsonNumber, parseLoosely } from "./json.mjs";
import { arrayLayout, parseMetadata, singleLayout } from "./zarr-metadata.mjs";
import { chunkKey, ROOT } from "./zarr.mjs";
import { isGeneration, isTemporary } from "./zarr-store.mjs";

const VERSION_2 = new Set([".zarray", ".zattrs", ".zgroup", ".zmetadata"]);
const LEFT_OUT = new Set(["attributes", "configuration", "dimension_names", "storage_transformers"]);
const ALIGNED = 64;

export function validateZarr(reader, { version }) {
  const { store, root } = reader;
  if (root.version !== version) refuse("BACKEND_MISMATCH", `version ${version}`, shown(root.version), { place: ROOT });
  if (store.isZip) store.zip.validate();
  const names = new Names(reader);
  names.texts();
  names.packs();
  names.arrays();
  names.judgeRest();
  judgeConsolidated(reader, names.nodes);
}

/** Collects the names that rules name, judging the metadata that it meets. */
class Names {
  constructor(reader) {
    this.reader = reader;
    this.known = new Set([reader.generation]);
    this.nodes = [];
    this.group("");
    this.group("arrays");
  }

  note(name) {
    const steps = this.reader.at(name).split("/");
    steps.forEach((_, at) => this.known.add(steps.slice(0, at + 1).join("/")));
  }

  metadata(name) {
    const bytes = this.reader.metadata(name);
    if (bytes === null) {
      refuse(name.startsWith("arrays/") ? "ARRAY_MISSING" : "Z_METADATA", "metadata", "none", { place: name || "generation" });
    }
    this.nodes.push(name === "" ? this.reader.generation : this.reader.at(name));
    this.note(name === "" ? ROOT : `${name}/${ROOT}`);
    return bytes;
  }

  group(name) {
    parseMetadata(this.metadata(name), "group", name || "generation");
  }

  texts() {
    for (const name of ["manifest", "info", "blocks"]) this.single(name);
  }

  /** A text or the index of packs: its metadata say how many bytes it has, which an empty one has no chunk for. */
  single(name) {
    const { size, compression } = singleLayout(this.metadata(name), name);
    if (compression !== "") refuse("Z_METADATA", "no compression", compression, { place: name });
    const stored = this.reader.sizeOf(`${name}/c/0`);
    if (stored !== size) refuse("Z_METADATA", `the extent ${stored}`, `${size}`, { place: name });
    if (size > 0) this.note(`${name}/c/0`);
  }

  packs() {
    if (this.reader.index === null) return;
    this.group("packs");
    this.single("packs/index");
    for (const [number, rows] of this.judgeRows()) {
      this.metadata(`packs/${number}`);
      this.note(`packs/${number}/c/0`);
      this.judgeBetween(number, rows);
    }
  }

  /** Rows stand in order, aligned and apart; returns pack number -> [[offset, end], …]. */
  judgeRows() {
    const used = new Map();
    let before = { pack: 0, end: 0 };
    this.reader.entries.forEach((entry, index) => {
      const { pack, offset, size } = this.reader.row(index);
      const place = `packs/index, row ${index}`;
      if (pack === 0 && offset === 0 && size === 0) return;
      const next = pack > before.pack || (pack === before.pack && offset >= before.end);
      if (pack === 0 || size === 0 || !next || offset % ALIGNED !== 0) {
        refuse("Z_METADATA", "rows in order, aligned and apart", `pack ${pack}, ${size} bytes at ${offset}`, { place });
      }
      used.set(pack - 1, [...(used.get(pack - 1) ?? []), [offset, offset + size]]);
      before = { pack, end: offset + size };
    });
    return used;
  }

  judgeBetween(number, rows) {
    const bytes = this.reader.readPack(number);
    const starts = [...rows.map(([offset]) => offset), bytes.length];
    const ends = [0, ...rows.map(([, end]) => end)];
    if (!ends.every((end, at) => isZero(bytes.subarray(end, starts[at])))) {
      refuse("Z_METADATA", "zeros between the arrays of a pack", "other bytes", { place: `packs/${number}` });
    }
  }

  arrays() {
    this.reader.entries.forEach((entry, index) => {
      if (this.reader.row(index).pack > 0) return;
      const place = `arrays/${entry.name}`;
      const layout = arrayLayout(this.metadata(place), entry, place);
      const rank = entry.shape.length;
      const count = entry.size === 0 ? 0 : rank === 0 ? 1 : Math.ceil(entry.shape[0] / layout.rows);
      for (let number = 0; number < count; number++) this.note(`${place}/${chunkKey(number, rank, layout.separator)}`);
    });
  }

  /** Whatever has a name that no rule names. */
  judgeRest() {
    const { store, generation } = this.reader;
    for (const { name } of store.list(generation)) {
      if (!this.known.has(name) && !(isTemporary(name) && !store.isZip)) this.refuseExtra(name);
    }
    for (const name of store.top()) {
      const mayBe = !store.isZip && (isTemporary(name) || isGeneration(store.root, name));
      if (name !== ROOT && name !== generation && !mayBe) this.refuseExtra(name);
    }
  }

  refuseExtra(name) {
    const steps = name.split("/");
    if (VERSION_2.has(steps.at(-1))) refuse("Z_MIXED", "no files of Zarr version 2", shown(name), { place: name });
    const stray = steps.slice(0, 3).join("/");
    if (steps[1] === "arrays" && !this.known.has(stray) && this.reader.store.hasFile(`${stray}/${ROOT}`)) {
      refuse("ARRAY_STRAY", "arrays of the table only", shown(steps[2]), { place: name });
    }
    refuse("CONTAINER_EXTRA", "nothing that no rule names", shown(name), { place: name });
  }
}

/** What consolidated metadata of a group says of the nodes below it is what they say themselves, and it leaves none of them out. */
function judgeConsolidated({ store, generation }, nodes) {
  for (const group of ["", `${generation}/`, `${generation}/arrays/`, `${generation}/packs/`]) {
    const place = `${group}${ROOT}`;
    const bytes = store.read(place, () => {});
    const consolidated = bytes === null ? undefined : parseLoosely(bytes, place).get("consolidated_metadata");
    if (consolidated === undefined) continue;
    const said = consolidated instanceof Map ? consolidated.get("metadata") : null;
    if (!(said instanceof Map)) refuse("Z_CONSOLIDATED", "an object of metadata", "another value", { place });
    const below = nodes.filter((name) => name.startsWith(group) && name.length > group.length).map((name) => name.slice(group.length));
    for (const path of new Set([...below, ...said.keys()])) {
      const node = isInside(path) ? store.read(`${group}${path}/${ROOT}`, () => {}) : null;
      if (node === null || !said.has(path) || plain(said.get(path)) !== plain(parseLoosely(node, path))) {
        refuse("Z_CONSOLIDATED", "what each node says itself", `other metadata of ${shown(path)}, or none`, { place });
      }
    }
  }
}

const isInside = (path) => path.split("/").every((step) => !["", ".", ".."].includes(step));

/** The text of metadata without what means the same when it is left out. */
function plain(value) {
  if (value instanceof JsonNumber) return String(Number(value.text));
  if (Array.isArray(value)) return `[${value.map(plain).join(",")}]`;
  if (!(value instanceof Map)) return typeof value === "bigint" ? value.toString() : JSON.stringify(value);
  const members = [...value].filter(([name, member]) => name !== "consolidated_metadata" && !(LEFT_OUT.has(name) && isEmpty(member)));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${plain(member)}`).sort().join(",")}}`;
}

const isEmpty = (value) => value === null || value.size === 0 || value.length === 0;
