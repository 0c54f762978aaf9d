/** Dead letters: what could not be followed, why, and what is to become of it. */

import { h } from "./dom.js";
import { ago, exactly } from "./format.js";
import { address, isOperator, now } from "./page.js";
import { call, get } from "./session.js";
import { ask, button, chip, empty, facts, follow, table, why } from "./talk.js";

export const deadLetters = {
  title: "Dead letters",
  every: () => 15_000,
  load: () => get("dead-letters"),
  draw(data) {
    if (!data.count) return empty("No dead letters", "Every message could be followed, redriven or discarded.");
    const moved = (name) => ago(name, now());
    return [
      h(
        "header",
        { key: "head", class: "lead" },
        h("p", {}, `${data.count} messages could not be followed. Mend the cause, then redrive them.`),
        isOperator() && button("Redrive all…", () => work("redrive", {}, data.count), { kind: "primary" }),
      ),
      table(
        "Dead letters by kind and reason",
        ["#Count", "Kind", "Function", "Reason", "Newest", "What to do"],
        data.groups.map((one) => ({
          key: [one.kind, one.function, one.event, one.reason].join(),
          cells: [
            one.count,
            one.kind,
            [one.function, h("small", {}, one.event)],
            one.reason,
            h("span", { title: exactly(one.newest) }, moved(one.newest)),
            isOperator() && [
              button("Redrive…", () => work("redrive", same(one), one.count)),
              button("Discard…", () => work("discard", same(one), one.count)),
            ],
          ],
        })),
      ),
      table(
        "Dead letters one by one",
        ["Letter", "Function", "#Times", "Since"],
        data.dead_letters.map((one) => ({
          key: one.id,
          cells: [
            h("a", { href: address("dead-letter", one.id) }, one.id),
            one.function,
            one.times,
            h("span", { title: exactly(one.at) }, moved(one.at)),
          ],
        })),
      ),
    ];
  },
};

export const deadLetter = {
  title: (id) => `Dead letter ${id}`,
  load: (id) => get(`dead-letters/${encodeURIComponent(id)}`),
  draw(one) {
    return [
      h("p", { key: "state" }, chip(one)),
      h("p", { key: "reason", class: "problem" }, one.reason),
      facts([
        ["Kind", one.kind],
        ["Function", one.function],
        ["Event", one.event],
        ["Since", exactly(one.at)],
        ["Times", one.times],
      ]),
      isOperator() &&
        h(
          "div",
          { key: "buttons", class: "buttons" },
          button("Redrive…", () => work("redrive", { letters: [one.id] }, 1)),
          button("Discard…", () => work("discard", { letters: [one.id] }, 1)),
        ),
      h("h3", { key: "whole" }, "The message"),
      h("pre", { key: "message", tabindex: "0" }, JSON.stringify(one.message, null, 1)),
      h("h3", { key: "past" }, "History"),
      table(
        "History",
        ["When", "Who", "What", "Why"],
        one.history.map((line, n) => ({ key: `${n}`, cells: [exactly(line.at), line.who, line.what, line.why] })),
      ),
    ];
  },
};

/** A choice of all that share kind, function and reason. */
const same = ({ kind, function: name, reason }) => ({ kind, function: name, reason });

function work(what, choice, count) {
  const those = count === 1 ? "1 dead letter" : `${count} dead letters`;
  const done = what === "redrive" ? "redriven" : "discarded";
  ask({
    title: what === "redrive" ? "Redrive dead letters" : "Discard dead letters?",
    lead: () =>
      h(
        "p",
        {},
        what === "redrive"
          ? `${those} go once more to their functions. What was followed meanwhile changes nothing; what is refused again waits again.`
          : `Nobody follows ${those} any more. Their records stay for a while.`,
      ),
    fields: [why(what === "redrive" ? "What is mended?" : "Why does nobody need them?")],
    action: what === "redrive" ? "Redrive" : "Discard",
    danger: what === "discard",
    submit: async (values) => {
      const before = (await get("dead-letters")).count;
      await call("POST", `dead-letters/${what}`, { ...choice, why: values.why });
      const seen = (found) => found.count <= before - count && { text: `${those}: ${done}.` };
      follow("dead-letters", `${those} are being ${done}…`, seen);
    },
  });
}
