/** Permanent environments, and the rollouts that replace their instances. */

import { h } from "./dom.js";
import { history } from "./environment.js";
import { ago, clock, count, duration, exactly, moment } from "./format.js";
import { address, keep, mayRollOut, now, page } from "./page.js";
import { call, get } from "./session.js";
import { sleepAction, sleepOf } from "./sleep.js";
import { ask, button, chip, code, empty, facts, follow, reach, why } from "./talk.js";

const UNSAID = { days: "30" };
const wanted = { ...UNSAID };

function look(days) {
  Object.assign(wanted, { days });
  keep(wanted, UNSAID);
  page.refresh();
}

export const rollouts = {
  title: "Rollouts",
  filter: (said) => Object.assign(wanted, UNSAID, said),
  async load() {
    const [known, found] = await Promise.all([get("services"), get(`rollouts?days=${encodeURIComponent(wanted.days)}`)]);
    return { ...known, rollouts: found.rollouts };
  },
  draw(data) {
    return [
      h("h2", { key: "s" }, "Permanent environments"),
      data.services.length
        ? h("div", { key: "services", class: "cards" }, data.services.map(service))
        : empty(
            "No permanent environment",
            "An application that declares one, such as production, has it rolled out and shown here: docs/tasks/roll-out.md.",
          ),
      h("div", { key: "r", class: "lead" }, h("h2", {}, "Rollouts"), reach(wanted.days, look)),
      data.rollouts.length
        ? h("ol", { key: "rollouts", class: "rollouts" }, data.rollouts.toSorted(openFirst).map(line))
        : h(
            "p",
            { key: "none", class: "note" },
            "None in this time. A new image or a release that passed begins one; “Roll out now…” does at once.",
          ),
    ];
  },
};

const openFirst = (a, b) => Boolean(a.ended_at) - Boolean(b.ended_at);

function service(one) {
  const drift = [...one.drift, ...one.odd];
  return h(
    "article",
    { key: one.id, class: `card ${drift.length ? "warn" : ""}` },
    h("header", {}, h("h3", {}, one.name), h("span", { class: "aside" }, one.application), chip(one)),
    h(
      "p",
      { class: "points" },
      one.image ? [h("span", { class: "version" }, one.version), " on ", code(one.image)] : "nothing runs yet",
    ),
    facts([
      ["Instances", one.instance_count],
      ["Oldest", one.oldest_instance_at && `${duration(now() - moment(one.oldest_instance_at))} old`],
      ["Before", one.previous && pinned(one.previous)],
      ["Rollout", one.rollout && h("a", { href: address("rollout", one.rollout) }, one.rollout)],
    ]),
    drift.length
      ? h(
          "details",
          { class: "problem" },
          h("summary", {}, `${count(drift.length, "difference")} from what it should be`),
          h(
            "ul",
            {},
            drift.map((each, n) =>
              h("li", { key: n }, typeof each === "string" ? each : Object.values(each).join(" · ")),
            ),
          ),
        )
      : one.image && h("p", { class: "aside" }, "as its blueprint says"),
    sleepOf(one),
    mayRollOut(one.application) && one.can_roll_out && actions(one),
  );
}

function actions(one) {
  const runs = one.rolling_out ? `${one.rollout} runs.` : "";
  return h(
    "div",
    { class: "actions" },
    button("Roll out now…", () => rollOut(one, "latest"), { forbidden: runs }),
    button("Step back…", () => rollOut(one, "previous"), {
      forbidden: runs || (one.previous ? "" : "There is no step before."),
    }),
    sleepAction(one, `services/${encodeURIComponent(one.id)}`, "services", (found) =>
      found.services.find((each) => each.id === one.id),
    ),
  );
}

function line(one) {
  const waits = one.awaits_approval;
  return h(
    "li",
    { key: one.id, class: "rollout" },
    h(
      "div",
      { class: "head" },
      h("a", { href: address("rollout", one.id) }, one.service),
      chip(one),
      h("span", { class: "aside" }, ago(one.started_at, now())),
      h("span", { class: "aside" }, one.percent > 0 && `${one.percent} %`),
      waits && mayRollOut(one.application) && button("Approve…", () => approve(one), { kind: "primary" }),
      one.can_resume && mayRollOut(one.application) && button("Let it go on…", () => resume(one), { kind: "primary" }),
      one.can_abort && mayRollOut(one.application) && button("Stop and go back…", () => abort(one), { kind: "danger" }),
    ),
    h("p", { class: "change" }, change(one)),
    progress(one),
    (one.reason || one.why) && h("p", { class: "aside" }, one.reason ?? one.why),
  );
}

const pinned = (one) => h("span", {}, one?.version ?? "nothing", " ", code(one?.image));

const change = ({ from, to }) => [pinned(from), h("b", {}, "→"), pinned(to)];

/** How far it has come, with a mark for each checkpoint. */
function progress(one) {
  const marks = one.checkpoints ?? [];
  const told = `${one.percent ?? 0} per cent; checkpoints at ${marks.map((mark) => mark.percent).join(", ")}`;
  return h(
    "div",
    {
      class: `progress ${one.tone}`,
      role: "img",
      "aria-label": told,
      style: { "--share": one.percent ?? 0 },
    },
    h("span", { class: "done" }),
    marks.map((mark) =>
      h("span", {
        key: mark.percent,
        class: `mark ${mark.reached_at ? "reached" : ""}`,
        style: { "--share": mark.percent },
        title: mark.reached_at ? `${mark.percent} % reached ${exactly(mark.reached_at)}` : `${mark.percent} %`,
      }),
    ),
  );
}

export const rollout = {
  title: (id) => `Rollout ${id}`,
  deeds: (one) =>
    mayRollOut(one.application)
      ? {
          approve: one.awaits_approval && (() => approve(one)),
          abort: one.can_abort && (() => abort(one)),
          pause: one.can_pause && (() => pause(one)),
          resume: one.can_resume && (() => resume(one)),
        }
      : {},
  load: (id) => get(`rollouts/${encodeURIComponent(id)}`),
  draw(one) {
    return [
      h("div", { class: "lead", key: "lead" }, chip(one), h("p", { class: "change" }, change(one))),
      progress(one),
      one.awaits_approval &&
        (mayRollOut(one.application)
          ? h(
              "div",
              { class: "actions" },
              button("Approve…", () => approve(one), { kind: "primary" }),
            )
          : h("p", { class: "note" }, "It waits for the approval of an owner or an operator.")),
      (one.can_abort || one.can_resume) &&
        mayRollOut(one.application) &&
        h(
          "div",
          { class: "actions" },
          one.can_resume && button("Let it go on…", () => resume(one), { kind: "primary" }),
          one.can_pause && button("Pause…", () => pause(one)),
          one.can_abort && button("Stop and go back…", () => abort(one), { kind: "danger" }),
        ),
      one.pause && h("p", { class: "note" }, one.pause.why, one.can_resume && stands(one)),
      one.reason && h("p", { class: "note" }, one.reason),
      facts([
        ["Service", one.service],
        ["Why", one.why],
        [one.waits ? "Waits since" : "Started", exactly(one.started_at)],
        ["Ended", exactly(one.ended_at)],
        [
          "Checkpoints",
          (one.checkpoints ?? []).map((mark) =>
            h(
              "div",
              { key: mark.percent },
              `${mark.percent} %: ${mark.reached_at ? clock(mark.reached_at, now()) : "not yet"}`,
            ),
          ),
        ],
      ]),
      history(one.history ?? []),
    ];
  },
};

function approve(one) {
  const points = (one.checkpoints ?? []).map((mark) => `${mark.percent} %`);
  ask({
    title: `Approve the rollout to ${one.service}?`,
    lead: () => [
      h("p", { class: "change" }, change(one)),
      h(
        "p",
        {},
        `Instances are replaced in batches, with checkpoints at ${points.join(", ")}; `,
        "it rolls back by itself if an alarm fires.",
      ),
    ],
    fields: [why("What has been looked at?")],
    action: "Approve",
    submit: async (values) => {
      await call("POST", `rollouts/${encodeURIComponent(one.id)}/approval`, { why: values.why });
      const seen = (found) => !found.awaits_approval && { text: `The rollout to ${one.service} is ${found.stage}.` };
      follow(`rollouts/${encodeURIComponent(one.id)}`, `Approving the rollout to ${one.service}…`, seen);
    },
  });
}

/** What a pause means right now. */
const stands = (one) =>
  one.pause.stands
    ? ". It stands still; no alarm is watched until it goes on."
    : ". It goes on to its next checkpoint, and stands still there.";

function pause(one) {
  hold(one, "pause", {
    title: `Pause the rollout to ${one.service}?`,
    lead: "It stops at its next checkpoint, or at the one where it is watched now, and stays there until somebody lets it go on or stops it. No alarm is watched meanwhile, and the time counts into what a rollout may take.",
    why: "What is to be looked at?",
    action: "Pause",
    said: `Pausing the rollout to ${one.service}…`,
    done: (found) => !found.can_pause && { text: `The rollout to ${one.service} pauses.` },
  });
}

function resume(one) {
  hold(one, "resumption", {
    title: `Let the rollout to ${one.service} go on?`,
    lead: `${one.percent} % of the instances are replaced; it goes on with those that are left.`,
    why: "What has been looked at?",
    action: "Go on",
    said: `Resuming the rollout to ${one.service}…`,
    done: (found) => !found.can_resume && { text: `The rollout to ${one.service} goes on.` },
  });
}

function hold(one, what, { title, lead, why: example, action, said, done }) {
  const path = `rollouts/${encodeURIComponent(one.id)}`;
  ask({
    title,
    lead: () => [h("p", { class: "change" }, change(one)), h("p", {}, lead)],
    fields: [why(example)],
    action,
    submit: async (values) => {
      await call("POST", `${path}/${what}`, { why: values.why });
      follow(path, said, done);
    },
  });
}

function abort(one) {
  ask({
    title: `Stop the rollout to ${one.service}?`,
    lead: () => [
      h("p", { class: "change" }, change({ from: one.to, to: one.from })),
      h(
        "p",
        {},
        `${one.percent} % of the instances are replaced. It goes back at once, `,
        "without a wait at a checkpoint, to exactly what was there before; that is verified in the end.",
      ),
    ],
    fields: [why("What is wrong with it?")],
    action: "Stop and go back",
    danger: true,
    submit: async (values) => {
      await call("POST", `rollouts/${encodeURIComponent(one.id)}/abort`, { why: values.why });
      const seen = (found) => !found.can_abort && { text: `The rollout to ${one.service} is ${found.stage}.` };
      follow(`rollouts/${encodeURIComponent(one.id)}`, `Stopping the rollout to ${one.service}…`, seen);
    },
  });
}

function rollOut(one, to) {
  const back = to === "previous";
  ask({
    title: back ? `Step ${one.id} back?` : `Roll ${one.id} out now?`,
    lead: () => [
      h("p", { class: "change" }, back ? change({ from: one, to: one.previous }) : pinned(one)),
      h(
        "p",
        {},
        back
          ? "It gets exactly what it had before, on the same careful way. "
          : "It gets what is wanted of it, and new instances even where that is there already. ",
        "That waits for no approval and no window, only for the kill switch.",
      ),
    ],
    fields: [why(back ? "What is wrong with it?" : "Why now?")],
    action: back ? "Step back" : "Roll out",
    danger: back,
    submit: async (values) => {
      await call("POST", `services/${encodeURIComponent(one.id)}/rollout`, { to, why: values.why });
      const seen = ({ services }) => {
        const found = services.find((each) => each.id === one.id);
        if (found?.rolling_out) return { text: `${found.rollout} has begun.` };
        return found?.rollout && found.rollout !== one.rollout ? { text: `${found.rollout} waits.` } : null;
      };
      follow("services", back ? `Stepping ${one.id} back…` : `Rolling ${one.id} out…`, seen);
    },
  });
}
