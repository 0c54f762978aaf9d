/** One release: its suites, its verdict, its history. */

import { changes, compare } from "./differences.js";
import { h } from "./dom.js";
import { exactly, usd } from "./format.js";
import { history } from "./environment.js";
import { life } from "./life.js";
import { address, now, page } from "./page.js";
import { get } from "./session.js";
import { chip, code, facts } from "./talk.js";

const COMPARED_DAYS = 90;
const others = new Map(); // what one may be compared with, by its id: the releases of its application
const chosen = new Map(); // with which it is compared

async function load(id) {
  const one = await get(`releases/${encodeURIComponent(id)}`);
  if (!others.has(id)) {
    const path = `releases?days=${COMPARED_DAYS}&application=${encodeURIComponent(one.application)}`;
    const found = await get(path).catch(() => ({ releases: [] }));
    others.set(id, found.releases.filter((each) => each.id !== id));
  }
  return one;
}

export const release = {
  title: (id) => `Release ${id}`,
  load,
  draw(one) {
    return [
      h(
        "div",
        { class: "lead", key: "lead" },
        chip(one),
        h("strong", {}, `${one.application} ${one.version}`),
        one.attempt > 1 && h("span", {}, `attempt ${one.attempt}`),
      ),
      one.verdict && h("p", { key: "verdict", class: one.verdict.passed ? "note" : "problem" }, one.verdict.reason),
      facts([
        ["Pushed", `${exactly(one.pushed_at)}${one.pushed_by ? ` by ${one.pushed_by}` : ""}`],
        ["Commit", code(one.commit)],
        ["Branch", code(one.branch)],
        ["Superseded by", one.superseded_by && h("a", { href: address("releases", one.superseded_by) }, one.superseded_by)],
        ["Artifact", code(one.artifact)],
        ["Image", code(one.image)],
        ["Cost", usd(one.usd)],
      ]),
      h(
        "section",
        { key: "suites" },
        h("h3", {}, "Environments"),
        (one.environments ?? []).length === 0 && h("p", { class: "note" }, "None yet: the release is being planned."),
        h(
          "ol",
          { class: "rows short" },
          (one.environments ?? []).map((each) =>
            h(
              "li",
              { class: "row", key: each.id },
              h(
                "a",
                { class: "name", href: address("environments", each.id) },
                h("span", { class: "suite" }, each.suite),
              ),
              h("span", { class: "stage" }, chip(each.ending ?? each)),
              life(each, now()),
            ),
          ),
        ),
      ),
      comparison(one),
      history(one.history ?? []),
    ];
  },
};

/** What it differs in from another release of its application. */
function comparison(one) {
  const found = others.get(one.id) ?? [];
  if (!found.length) return null;
  const choose = (event) => {
    chosen.set(one.id, event.target.value);
    page.redraw();
  };
  const before = chosen.get(one.id) ?? "";
  return h(
    "section",
    { key: "compared" },
    h(
      "div",
      { class: "lead" },
      h("h3", {}, "Compared with"),
      h(
        "label",
        { class: "pick" },
        h("span", { class: "unseen" }, "Another release"),
        h(
          "select",
          { value: before, onchange: choose },
          [h("option", { key: "none", value: "" }, "choose a release")].concat(
            found.map((each) =>
              h("option", { key: each.id, value: each.id }, `${each.version}${each.attempt > 1 ? `, ${each.attempt}` : ""}`),
            ),
          ),
        ),
      ),
    ),
    before && difference(one.id, before),
  );
}

function difference(after, before) {
  const path = `releases/${encodeURIComponent(after)}/since/${encodeURIComponent(before)}`;
  const found = compare(path, page.redraw);
  if (!found) return h("p", { key: path, class: "note" }, "Comparing…");
  if (found.failure) return h("p", { key: path, class: "note" }, found.failure);
  const tables = [changes(found, "facts"), found.image ? changes(found.image) : []];
  return h(
    "div",
    { key: path, class: "differences" },
    tables.flat().length ? tables : h("p", { class: "note" }, "They consist of the same."),
    found.image_problem && h("p", { class: "note" }, found.image_problem),
  );
}
