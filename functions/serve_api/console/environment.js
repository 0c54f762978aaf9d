/** One environment: its life, its history, and what may be done with it. */

import { h } from "./dom.js";
import { clock, count, duration, exactly, isLate, moment, usd, wholeSeconds } from "./format.js";
import { life } from "./life.js";
import { address, mayChange, now } from "./page.js";
import { call, get } from "./session.js";
import { changeSleep, sleepAction, sleepOf } from "./sleep.js";
import { ask, button, chip, code, facts, field, follow, why } from "./talk.js";

const PRESETS = [30, 60, 120, 240, 480, 1440];

export const environment = {
  title: (id) => id,
  load: (id) => get(`environments/${encodeURIComponent(id)}`),
  deeds: (one) =>
    !one.ended_at && !one.over && mayChange(one.application)
      ? {
          extend: () => extend(one),
          end: () => end(one),
          wake: one.can_sleep && one.asleep_since && (() => changeSleep(one, path(one))),
          sleep: one.can_sleep && !one.asleep_since && (() => changeSleep(one, path(one))),
        }
      : {},
  draw(one) {
    return [
      h(
        "div",
        { class: "lead", key: "life" },
        chip(one),
        one.ending && chip(one.ending),
        life(one, now()),
      ),
      isLate(one, now()) &&
        h(
          "p",
          { class: "problem", key: "late" },
          `It has outlived its deadline by ${duration(now() - moment(one.deadline))}. `,
          "The next sweep ends it, unless the kill switch or its protection forbids that.",
        ),
      one.handed_over &&
        h("p", { class: "problem", key: "handed" }, "Its teardown was given up, and needs a person: ", one.handed_over),
      one.not_launched?.length > 0 &&
        h(
          "p",
          { class: one.ready || one.over ? "note" : "problem", key: "not-launched" },
          h("strong", {}, "Not launched: "),
          `${one.not_launched.join(", ")}. EC2 had no capacity.`,
        ),
      actions(one),
      !one.over && sleepOf(one),
      one.ending &&
        h("p", { class: "note", key: "ending" }, h("strong", {}, `Ended by ${one.ending.by}: `), one.ending.reason),
      facts([
        [
          "Release",
          one.release && h("a", { href: address("releases", one.release) }, `${one.application} ${one.version}`),
        ],
        ["Suite", `${one.suite}, ${one.kind}`],
        ["Owner", one.owner],
        ["Target", `${one.account} · ${one.region}`],
        ["Instances", `${one.instances_built ?? 0} of ${one.instance_count} built · ${one.instance_type ?? ""}`],
        ["Image", one.image && [code(one.image), " ", one.channel]],
        ["Cost", `${usd(one.usd)} so far · ${usd(one.usd_per_hour)} an hour`],
        ["Planned", exactly(one.planned_at)],
        ["Ready after", spans(one.spans)],
        ["Slowest resources", told(one.slowest)],
        ["Deadline", exactly(one.deadline)],
        ["Ceiling", exactly(one.ceiling)],
        ["Ended", exactly(one.ended_at)],
        ["Tests", one.tests && `${one.tests.tests} in all, ${one.tests.failures} failed, ${one.tests.skipped} skipped`],
        ["Failed tests", one.tests?.failed.join(", ")],
        ["Report", one.report && link(one.report)],
        ["Log", one.log && link(one.log)],
        ["Kept behind", one.kept?.length ? one.kept.join(", ") : ""],
        ["Look at", links(one.links)],
      ]),
      outputs(one.outputs ?? {}),
      instances(one),
      history(one.history ?? []),
    ];
  },
};

/** Where the time until it was ready went: the whole, and its parts. */
const spans = (all) =>
  all?.length > 0 && `${duration(all.reduce((sum, one) => sum + one.seconds, 0) * 1000)}: ${told(all)}`;

const told = (all) => all?.map((one) => `${one.name} ${duration(one.seconds * 1000)}`).join(" · ");

/** What happened, the latest first. */
export const history = (lines, title = "History") =>
  lines.length > 0 &&
  h(
    "section",
    { key: "history" },
    title && h("h3", {}, title),
    h(
      "ol",
      { class: "history" },
      lines
        .toReversed()
        .map((line, n) =>
          h(
            "li",
            { key: `${lines.length - n}` },
            h("time", { datetime: line.at, title: exactly(line.at) }, clock(line.at, now())),
            h(
              "div",
              {},
              h("strong", {}, line.what),
              h("span", { class: "by" }, line.who),
              line.why && h("p", {}, wholeSeconds(line.why)),
            ),
          ),
        ),
    ),
  );

const isWeb = (text) => /^https?:\/\//i.test(text);
const link = (text, shown = text) =>
  isWeb(text) ? h("a", { href: text, target: "_blank", rel: "noopener noreferrer" }, shown) : code(text);

function links(all = {}) {
  const found = Object.entries(all).filter(([, href]) => href && isWeb(href));
  return found.length ? found.map(([name, href]) => [link(href, name), " "]) : "";
}

function outputs(all) {
  const rows = Object.entries(all);
  return (
    rows.length > 0 &&
    h(
      "section",
      { key: "outputs", class: "outputs" },
      h("h3", {}, "Outputs"),
      facts(rows.map(([name, value]) => [name, link(`${value}`)])),
    )
  );
}

/** Its instances, and how to reach one. */
const instances = (one) =>
  one.instances.length > 0 &&
  !one.ended_at &&
  h(
    "section",
    { key: "instances" },
    h("h3", {}, "Instances"),
    h(
      "details",
      {},
      h("summary", {}, `${count(one.instances.length, "instance")} when it became ready`),
      h(
        "ul",
        { class: "ids" },
        one.instances.map((each) =>
          h(
            "li",
            { key: each.id },
            link(each.link, code(each.id)),
            " ",
            h("a", { href: address("instance", `${one.id}/${each.id}`), title: `The console of ${each.id}` }, "what it prints"),
          ),
        ),
      ),
    ),
    facts([
      ["A shell", code(`mayfly open ${one.id} --instance ${one.instances[0].id}`)],
      ["A port", code(`mayfly open ${one.id} --port 8080:80`)],
    ]),
  );

function actions(one) {
  if (one.ended_at) return null;
  if (!mayChange(one.application))
    return h(
      "p",
      { key: "actions", class: "note" },
      "You may look at this environment. ",
      `Extending and ending it is for developers of ${one.application} and for operators.`,
    );
  const over = one.over ? "It is being ended already." : "";
  const full =
    moment(one.deadline) >= moment(one.ceiling)
      ? "Its deadline is its ceiling already."
      : isLate(one, now())
        ? "Its deadline has passed."
        : "";
  return h(
    "div",
    { class: "actions", key: "actions" },
    one.results.map((result) =>
      button(`Tests ${result.outcome}`, () => report(one, result), {
        kind: result.tone === "good" ? "primary" : "",
        forbidden: over,
      }),
    ),
    button("Extend…", () => extend(one), { forbidden: over || full }),
    sleepAction(one, path(one)),
    one.handed_over
      ? button("End again…", () => endAgain(one), { kind: "danger" })
      : button("End now…", () => end(one), { kind: "danger", forbidden: over }),
  );
}

const path = (one, what = "") => `environments/${encodeURIComponent(one.id)}${what}`;

function extend(one) {
  const until = (minutes) => Math.min(moment(one.deadline) + minutes * 60_000, moment(one.ceiling));
  const shown = (at) => clock(new Date(at).toISOString(), now());
  const most = (moment(one.ceiling) - moment(one.deadline)) / 60_000;
  const presets = PRESETS.filter((minutes) => minutes < most)
    .concat(Math.ceil(most))
    .slice(0, 7);
  const chosen = presets.includes(120) ? 120 : presets[0];
  ask({
    title: `Extend ${one.id}`,
    lead: (values) => {
      const at = until(Number(values.minutes ?? chosen));
      return [
        h(
          "p",
          {},
          `Its deadline is ${shown(moment(one.deadline))} UTC. `,
          `It may live until ${shown(moment(one.ceiling))} UTC, its ceiling, and not longer.`,
        ),
        h(
          "p",
          { class: "outcome", "aria-live": "polite" },
          `New deadline: ${shown(at)} UTC${at === moment(one.ceiling) ? ", its ceiling" : ""}`,
        ),
      ];
    },
    fields: [
      field({
        name: "minutes",
        label: "For",
        kind: "choices",
        value: chosen,
        options: presets.map((minutes) => ({
          value: minutes,
          text: minutes === Math.ceil(most) ? "up to its ceiling" : duration(minutes * 60_000),
        })),
      }),
      why("Who needs it, and for what?"),
    ],
    action: "Extend",
    submit: async (values) => {
      await call("POST", path(one, "/extension"), { minutes: Number(values.minutes), why: values.why });
      const seen = (found) =>
        moment(found.deadline) > moment(one.deadline) && {
          text: `${one.id} lives until ${shown(moment(found.deadline))} UTC.`,
        };
      follow(path(one), `Extending ${one.id}…`, seen);
    },
  });
}

function end(one) {
  const lost =
    one.ready
      ? "Whoever tests in it loses it, and its suite counts as not passed."
      : "Its suite counts as not passed.";
  ask({
    title: `End ${one.id}?`,
    lead: () => [
      h(
        "p",
        {},
        `${count(one.instances_built ?? one.instance_count, "instance")}, the stack and all data in them `,
        `are deleted for good. ${lost}`,
      ),
      facts([
        ["Application", `${one.application} ${one.version}`],
        ["Suite", one.suite],
        ["Owner", one.owner],
        ["Would have lived", until(one)],
      ]),
    ],
    fields: [why("Why is it not needed any more?")],
    action: `End ${one.suite}`,
    danger: true,
    submit: async (values) => {
      await call("POST", path(one, "/termination"), { why: values.why });
      const seen = (found) =>
        found.ended_at
          ? { text: `${one.id} is gone: no stack and no instance is left.` }
          : found.over
            ? { text: `${one.id} is being ended.` }
            : null;
      follow(path(one), `Ending ${one.id}…`, seen);
    },
  });
}

function endAgain(one) {
  ask({
    title: `End ${one.id} again?`,
    lead: () => h("p", {}, "All steps of the teardown are taken once more. What blocked it last: ", one.handed_over),
    fields: [why("What was mended?")],
    action: `End ${one.suite} again`,
    danger: true,
    submit: async (values) => {
      await call("POST", path(one, "/termination"), { why: values.why, again: true });
      const seen = (found) =>
        found.ended_at || !found.handed_over ? { text: `${one.id} is being ended again.` } : null;
      follow(path(one), `Ending ${one.id} again…`, seen);
    },
  });
}

const until = (one) =>
  isLate(one, now()) ? "no longer: its deadline has passed" : `${duration(moment(one.deadline) - now())} longer`;

function report(one, { outcome, tone }) {
  const bad = tone === "bad";
  ask({
    title: `${one.suite} ${outcome}?`,
    lead: () =>
      h("p", {}, `That is the verdict on ${one.application} ${one.version}, and ends the environment ${one.id}.`),
    fields: [
      field({
        name: "reason",
        label: bad ? "What failed" : "Remark",
        required: bad,
        maxlength: "1024",
      }),
      field({
        name: "report",
        label: "Report",
        hint: "Where your notes are, if you have any.",
        maxlength: "1024",
        placeholder: "https://",
      }),
    ],
    action: `Report ${outcome}`,
    danger: bad,
    submit: async ({ reason, report }) => {
      await call("POST", path(one, "/result"), { outcome, ...(reason && { reason }), ...(report && { report }) });
      const seen = (found) =>
        found.ending
          ? {
              text: `${one.suite} of ${one.application} ${one.version}: ${found.ending.outcome}.`,
              bad: found.ending.outcome !== outcome,
            }
          : null;
      follow(path(one), `Reporting ${outcome}…`, seen);
    },
  });
}
