/** How two images or two releases differ. */

import { h } from "./dom.js";
import { count } from "./format.js";
import { get } from "./session.js";
import { code, table } from "./talk.js";

const compared = new Map();

/** What the API says at `path`, asked for once; null until it is there, then `redraw` is called. */
export function compare(path, redraw) {
  if (!compared.has(path)) {
    compared.set(path, null);
    get(path)
      .catch((failure) => {
        if (failure.status !== 404) compared.delete(path); // asked again with the next change
        return { failure: failure.message };
      })
      .then((found) => {
        if (compared.has(path)) compared.set(path, found);
        redraw();
      });
  }
  return compared.get(path) ?? null;
}

const KINDS = { packages: "package", services: "service", files: "file", facts: "fact", parameters: "parameter" };

/** Tables of what changes, a kind each; nothing where nothing does. */
export const changes = (found, open = "packages") =>
  Object.keys(KINDS)
    .filter((kind) => found[kind]?.length)
    .map((kind) =>
      h(
        "details",
        { key: kind, open: kind === open },
        h("summary", {}, `${count(found[kind].length, KINDS[kind])} `, found[kind].length === 1 ? "differs" : "differ"),
        table(
          `Changed ${kind}`,
          ["Name", "Before", "After"],
          found[kind].map((one) => ({ key: one.name, cells: [code(one.name), one.before ?? "-", one.after ?? "-"] })),
        ),
      ),
    );
