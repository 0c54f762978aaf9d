/** One bake: how it went, its log, and its history. */

import { h } from "./dom.js";
import { history } from "./environment.js";
import { exactly } from "./format.js";
import { get } from "./session.js";
import { chip, code, facts, printed } from "./talk.js";

export const bakePage = {
  title: (id) => `Bake ${id}`,
  load: (id) => get(`bakes/${encodeURIComponent(id)}`),
  draw(one) {
    return [
      h("div", { class: "lead", key: "lead" }, chip(one), h("p", { class: "change" }, one.why)),
      one.reason && h("p", { key: "reason", class: one.tone === "bad" ? "problem" : "note" }, one.reason),
      facts([
        ["Family", one.family],
        ["Image", code(one.image)],
        ["Made from", code(one.base_image)],
        ["Builder", code(one.builder)],
        ["Target", `${one.account} · ${one.region}`],
        ["Asked by", one.requested_by],
        ["Asked", exactly(one.at)],
        ["Checks", one.checks.map((check) => check.name).join(", ")],
        ["Log", code(one.log)],
      ]),
      printed("Log", one.log_text ?? (one.over ? "It left none, or Mayfly may not read it there." : "It comes with its end.")),
      one.console_text && printed("The builder's console", one.console_text),
      history(one.history),
    ];
  },
};
