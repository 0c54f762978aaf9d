/** Sweeps: what each looked at, what it did, and why. */

import { h } from "./dom.js";
import { ago, exactly, moment } from "./format.js";
import { isOperator, keep, now, page } from "./page.js";
import { call, get } from "./session.js";
import { ask, button, chip, code, empty, facts, field, follow, reach, table, why } from "./talk.js";

const LEGEND = {
  end: "it has outlived its deadline, or nobody carries out its end: its termination is started",
  wake: "its execution sleeps past its deadline, and is told",
  adopt: "nobody waits for its end: an execution is started that does",
  refuse: "it is past its end and must not be touched: protected, or not ours by its tags. People are told",
  keep: "nothing: it lives, or its own execution is ending it",
};
const ACTIONS = Object.keys(LEGEND);
const UNSAID = { days: "1" };
const [over, wanted] = [{ ...UNSAID }, { text: "", action: "" }];

function look(days) {
  Object.assign(over, { days });
  keep(over, UNSAID);
  page.refresh();
}

export const sweeps = {
  title: "Sweeps",
  every: () => 15_000,
  filter: (said) => Object.assign(over, UNSAID, said),
  load: () => get(`sweeps?days=${encodeURIComponent(over.days)}`),
  draw(data) {
    return [
      h(
        "header",
        { key: "head", class: "lead" },
        h(
          "p",
          {},
          "Every few minutes, all that exists is compared to what should; what outlived its deadline is ended.",
        ),
        isOperator() && button("Dry run", () => run(true), { kind: "primary" }),
        isOperator() && button("Sweep now…", () => run(false)),
        reach(over.days, look),
      ),
      h(
        "details",
        { key: "legend", class: "legend" },
        h("summary", {}, "What the columns mean"),
        facts(Object.entries(LEGEND)),
      ),
      data.sweeps.length
        ? table(
            "Sweeps",
            ["When", ...ACTIONS.map((action) => `#${action}`), "Halted"],
            data.sweeps.map((one) => ({
              key: one.key,
              cells: [
                [
                  h(
                    "a",
                    { href: `#/sweep/${one.key.replace(/^sweeps\/|\.json$/g, "")}`, title: exactly(one.at) },
                    ago(one.at, now()),
                  ),
                  h("small", {}, one.asked_by, one.dry_run && ", dry run"),
                ],
                ...ACTIONS.map((action) =>
                  h("span", { class: one.counts[action] ? `number ${action}` : "zero" }, one.counts[action] ?? 0),
                ),
                one.halted && h("span", { class: "problem" }, one.halted),
              ],
            })),
          )
        : empty(
            "No sweep in this time",
            "One runs every five minutes: the schedule may be off. `mayfly doctor` says so; a sweep by hand works without it.",
          ),
    ];
  },
};

export const sweep = {
  filter: (said) => Object.assign(wanted, { text: "", action: "" }, said),
  title: (id) => `Sweep ${id.replaceAll("/", "-").replace(/-(\d\d)(\d\d)(\d\d)-\w+$/, " $1:$2:$3")}`,
  load: (id) => get(`sweeps/${id.split("/").map(encodeURIComponent).join("/")}`),
  draw(one) {
    const all = [...one.decisions, ...one.kept];
    const shown = all.filter(
      (each) =>
        (!wanted.action || each.action === wanted.action) &&
        `${each.environment} ${each.reason}`.toLowerCase().includes(wanted.text.toLowerCase()),
    );
    const choose = (some) => {
      Object.assign(wanted, some);
      keep(wanted);
      page.redraw();
    };
    return [
      one.halted && h("p", { key: "halted", class: "problem" }, `Halted: ${one.halted}`),
      Object.entries(one.unseen).map(([target, reason]) =>
        h("p", { key: target, class: "problem" }, `Could not look at ${target}: ${reason}`),
      ),
      h(
        "p",
        { key: "by", class: "note" },
        `${exactly(one.at)}, asked by ${one.asked_by}${one.dry_run ? ", a dry run" : ""}.`,
      ),
      h(
        "form",
        { key: "filters", class: "filters", role: "search", onsubmit: (event) => event.preventDefault() },
        h("input", {
          type: "search",
          "aria-label": "Filter decisions",
          placeholder: "Filter: environment, reason…",
          value: wanted.text,
          oninput: (event) => choose({ text: event.target.value }),
        }),
        h(
          "label",
          { class: "pick" },
          h("span", { class: "unseen" }, "Action"),
          h(
            "select",
            { value: wanted.action, onchange: (event) => choose({ action: event.target.value }) },
            h("option", { value: "" }, "every action"),
            ACTIONS.map((action) =>
              h("option", { key: action, value: action }, `${action} (${one.counts?.[action] ?? 0})`),
            ),
          ),
        ),
      ),
      shown.length
        ? h(
            "ol",
            { key: "decisions", class: "decisions" },
            shown.map((each) =>
              h(
                "li",
                { key: `${each.environment} ${each.action}` },
                chip(each),
                h("div", {}, code(each.environment), h("p", {}, each.reason)),
              ),
            ),
          )
        : h("p", { key: "none", class: "note" }, all.length ? "No decision fits." : "It found nothing at all."),
    ];
  },
};

function run(dry) {
  const name = dry ? "dry run" : "sweep";
  ask({
    title: dry ? "Sweep as a dry run" : "Sweep now?",
    lead: () =>
      h(
        "p",
        {},
        dry
          ? "It looks and decides like every sweep, and leaves out the last step: nothing is ended."
          : "It ends what has outlived its deadline. More than the caps allow only as many as you let through.",
      ),
    fields: [
      !dry &&
        field({
          name: "at_most",
          label: "Let through at most",
          kind: "number",
          min: "0",
          max: "5000",
          value: "0",
          hint: "0: as many as the caps allow.",
        }),
      why("What do you look for?"),
    ].filter(Boolean),
    action: dry ? "Dry run" : "Sweep",
    danger: !dry,
    submit: async (values) => {
      const before = now();
      await call("POST", "sweeps", {
        dry_run: dry,
        why: values.why,
        ...(Number(values.at_most) > 0 && { at_most: Number(values.at_most) }),
      });
      const seen = (found) => {
        const mine = found.sweeps.find((one) => moment(one.at) >= before - 2_000 && one.asked_by === page.me.who);
        return mine
          ? {
              text: `The ${name} is done: ${mine.counts.end ?? 0} to end, ${mine.counts.keep ?? 0} to keep.`,
            }
          : null;
      };
      follow("sweeps?days=1", dry ? "Sweeping, as a dry run…" : "Sweeping…", seen);
    },
  });
}
