/** The info text (section 4.4, [I-1]). */

import { refuse, shown } from "./errors.mjs";
import { canonicalText, parseCanonical } from "./json.mjs";
import { NodeDecoder } from "./node.mjs";

const PLACE = "info";

/** What an info text says: `time`, `writer` and the dict `user`. */
export function decodeInfo(bytes, limits) {
  const root = parseCanonical(bytes, PLACE);
  const names = root instanceof Map ? [...root.keys()].sort().join() : "";
  if (names !== "time,user,writer") refuse("INFO_FORM", "exactly time, user and writer", shown(names), { place: PLACE });
  const [time, user, writer] = ["time", "user", "writer"].map((name) => root.get(name));
  if (typeof time !== "string" || !/^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$/.test(time)) {
    refuse("INFO_FORM", "a time YYYY-MM-DDThh:mm:ssZ", shown(time), { place: PLACE });
  }
  if (typeof writer !== "string") refuse("INFO_FORM", "a text as writer", shown(writer), { place: PLACE });
  if (!(user instanceof Map) || user.size !== 1 || !user.has("dict")) {
    refuse("INFO_FORM", "a node of kind dict as user", "another", { place: PLACE });
  }
  return { time, writer, user: new NodeDecoder([], limits, PLACE).root(user) };
}

/** The info text of a time, a writer and the JSON node of a dict. */
export const encodeInfo = (time, writer, userNode) =>
  Buffer.from(`{"time":${canonicalText(time)},"user":${userNode},"writer":${canonicalText(writer)}}`);
