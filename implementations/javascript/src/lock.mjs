/** Locks on the folder of a generation ([Z-3]): Node has no flock, so the command of that name takes them for this process. */

import { spawnSync } from "node:child_process";
import { closeFolder, openFolder } from "./files.mjs";

const PATIENCE = "10";

/**
 * The descriptor of a folder, locked until it is closed. An exclusive lock that cannot be had at once is null; a shared one is
 * waited for, and left out where that takes too long or there is no command `flock`.
 */
export function lockFolder(path, exclusive) {
  const fd = openFolder(path);
  const how = exclusive ? ["--exclusive", "--nonblock"] : ["--shared", "--wait", PATIENCE];
  // A lock belongs to the open file, which the child shares and leaves locked.
  const { status } = spawnSync("flock", [...how, "3"], { stdio: ["ignore", "ignore", "ignore", fd] });
  if (status === 0 || !exclusive) return fd;
  closeFolder(fd);
  return null;
}
