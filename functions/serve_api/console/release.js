/** One release: its suites, its verdict, its history. */

import { h } from "./dom.js";
import { exactly, usd } from "./format.js";
import { history } from "./environment.js";
import { life } from "./life.js";
import { address, now } from "./page.js";
import { get } from "./session.js";
import { chip, code, facts } from "./talk.js";

export const release = {
  title: (id) => `Release ${id}`,
  load: (id) => get(`releases/${encodeURIComponent(id)}`),
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
      history(one.history ?? []),
    ];
  },
};
