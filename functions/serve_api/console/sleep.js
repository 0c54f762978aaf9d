/** Environments that sleep: what is asked of their sleep, and what is said of it. */

import { h } from "./dom.js";
import { ago, clock, duration } from "./format.js";
import { now } from "./page.js";
import { call } from "./session.js";
import { ask, button, field, follow, why } from "./talk.js";

const HOURS = [1, 4, 8, 12, 24, 72];

/** That it sleeps, and what a person has asked of its sleep. */
export const sleepOf = (one) => [
  one.asleep_since && h("p", { key: "asleep", class: "note" }, `It fell asleep ${ago(one.asleep_since, now())}: no instance runs.`),
  one.override &&
    one.override.until > new Date(now()).toISOString() &&
    h(
      "p",
      { key: "override", class: "note" },
      `${one.override.by} wants it ${one.override.asleep ? "asleep" : "awake"} until `,
      `${clock(one.override.until, now())} UTC: ${one.override.why}`,
    ),
];

/** The button; the API has it at `path`, and says at `watched` what came of it, of which `seen` is this one's part. */
export const sleepAction = (one, path, watched = path, seen = (found) => found) =>
  one.can_sleep &&
  button(one.asleep_since ? "Wake…" : "Sleep…", () => changeSleep(one, path, watched, seen));

/** Asks for how long it is to sleep, or to be awake. */
export function changeSleep(one, path, watched = path, seen = (found) => found) {
  const asleep = !one.asleep_since;
  ask({
    title: asleep ? `Have ${one.id} sleep?` : `Wake ${one.id}?`,
    lead: () => [
      h(
        "p",
        {},
        asleep
          ? "Its instances end, with what is on them. Its stack stays, and so does its deadline."
          : "It gets as many instances as it had. They boot and deploy as they did first.",
      ),
    ],
    fields: [
      field({
        name: "hours",
        label: "For",
        kind: "choices",
        value: asleep ? 12 : 8,
        options: HOURS.map((hours) => ({ value: hours, text: duration(hours * 3_600_000) })),
      }),
      why(asleep ? "Why is nobody to use it?" : "Who needs it?"),
    ],
    action: asleep ? "Sleep" : "Wake",
    submit: async (values) => {
      await call("POST", `${path}/${asleep ? "sleep" : "waking"}`, { minutes: Number(values.hours) * 60, why: values.why });
      const done = (found) =>
        Boolean(seen(found)?.asleep_since) === asleep && { text: `${one.id} ${asleep ? "sleeps" : "wakes"}.` };
      follow(watched, asleep ? `${one.id} is to sleep…` : `Waking ${one.id}…`, done);
    },
  });
}
