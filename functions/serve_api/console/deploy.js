/** Deploying: an application, a version, one button. */

import { h } from "./dom.js";
import { count, duration, usd } from "./format.js";
import { address, isOperator, mayChange, page } from "./page.js";
import { call, get } from "./session.js";
import { empty, facts, field, follow } from "./talk.js";

const state = { application: null, busy: false, failure: null, last: {} };

export const deploy = {
  title: () => "Deploy a version",
  every: () => 30_000,
  async load() {
    const [known, { releases, next }] = await Promise.all([get("applications"), get("releases?days=7")]);
    const applications = known.applications.filter((one) => mayChange(one.name));
    const name = chosenOf(applications, releases)?.name;
    const isIts = (one) => one.application === name;
    // Where others are released so often that it is not among the latest, it is asked for by its name.
    const own =
      next && name && !releases.some(isIts) && get(`releases?days=7&most=1&application=${encodeURIComponent(name)}`);
    const last = (own ? (await own).releases : releases).find(isIts);
    // What is prefilled does not change under somebody's hands.
    if (!document.querySelector("form.deploy")) state.last = {};
    if (last) state.last[last.application] ??= last;
    // What its last release cost is the best that is known of what the next one will.
    const whole = last && (await get(`releases/${encodeURIComponent(last.id)}`));
    return { applications, releases, hourly: { ...hourlyOf(whole) } };
  },
  draw({ applications, releases, hourly }) {
    if (!applications.length)
      return empty(
        "Nothing to deploy",
        isOperator()
          ? "No application is configured yet; docs/applications.md tells how."
          : "You are a developer of no application that is configured.",
      );
    const chosen = chosenOf(applications, releases);
    const last = state.last[chosen.name];
    const problems = Object.fromEntries(
      (state.failure?.fields ?? []).map((one) => [one.field, `It is '${one.value}', but expected is ${one.expected}.`]),
    );
    return h(
      "form",
      { key: "deploy", class: "deploy", onsubmit: (event) => send(event, chosen) },
      field({
        name: "application",
        label: "Application",
        kind: "select",
        value: chosen.name,
        problem: problems.application,
        options: applications.map((one) => ({ value: one.name, text: one.name })),
        onchange: (event) => choose(event.target.value),
      }),
      chosen.problem
        ? h(
            "p",
            { class: "problem", role: "alert" },
            `Its configuration is wrong, so it cannot be deployed: ${chosen.problem}`,
          )
        : plan(chosen, hourly[chosen.name]),
      h(
        "div",
        { key: chosen.name, class: "inputs" },
        field({
          name: "version",
          label: "Version",
          required: true,
          maxlength: "128",
          pattern: "[A-Za-z0-9][A-Za-z0-9._+\\-]{0,127}",
          title: "Letters, digits and . _ + -",
          hint: last && `The last one was ${last.version}.`,
          problem: problems.version,
          oninput: (event) => follows(event, last),
        }),
        field({
          name: "artifact",
          label: "Artifact",
          required: true,
          maxlength: "1024",
          value: last?.artifact ?? "",
          placeholder: "s3://bucket/application-version.tgz",
          hint: last?.artifact
            ? "Follows the version, as in the last release."
            : "Where each instance fetches it from.",
          problem: problems.artifact,
        }),
        h(
          "details",
          { open: problems.attempt || problems.commit ? true : null },
          h("summary", {}, "Commit, another attempt"),
          field({ name: "commit", label: "Commit", maxlength: "1024", problem: problems.commit }),
          field({
            name: "attempt",
            label: "Attempt",
            kind: "number",
            min: "1",
            max: "1000",
            value: "1",
            hint: "Count up to run the same version again.",
            problem: problems.attempt,
          }),
        ),
      ),
      state.failure && state.failure.status !== 401 && h("p", { class: "problem", role: "alert" }, state.failure.message),
      h(
        "button",
        { type: "submit", class: "primary big", disabled: state.busy || Boolean(chosen.problem) },
        state.busy ? "Deploying…" : `Deploy ${chosen.name}`,
      ),
      h("p", { class: "note" }, "Another template? ", h("a", { href: "#/blueprint" }, "Check a blueprint"), " first."),
    );
  },
};

/** The application that is chosen: by hand, or else the one that was released last. */
function chosenOf(applications, releases) {
  const named = (name) => applications.find((one) => one.name === name);
  return (
    named(state.application) ?? named(releases.find((one) => named(one.application))?.application) ?? applications[0]
  );
}

function hourlyOf(release) {
  const known = release?.environments.find((one) => one.hourly_rate);
  return known && { [release.application]: known.hourly_rate };
}

function choose(application) {
  Object.assign(state, { application, failure: null });
  page.redraw();
  page.refresh();
}

/** Puts the version where the last release's version stood in its artifact. */
function follows(event, last) {
  if (!last?.artifact?.includes(last.version)) return;
  event.target.form.elements.artifact.value = last.artifact.replaceAll(
    last.version,
    event.target.value || last.version,
  );
}

function plan(one, hourly) {
  const suites = one.suites.length;
  const each = `${count(suites, "environment")} of ${count(one.instance_count, "instance")}`;
  const type = one.parameters?.InstanceType;
  const hours = one.lifetime_minutes / 60;
  return facts([
    ["Builds", type ? `${each}, ${type}` : each],
    ["Suites", one.suites.map((suite) => suite.name + (suite.manual ? " by hand" : "")).join(", ")],
    ["Image", one.image && `${one.image.family} · ${one.image.channel}`],
    [
      "Lives for",
      `${duration(one.lifetime_minutes * 60_000)} at most, ${duration(one.ceiling_minutes * 60_000)} with extensions`,
    ],
    [
      "Costs",
      hourly
        ? `about ${usd(hourly * suites)} an hour, ${usd(hourly * suites * hours)} if all live to their deadline`
        : "unknown: no environment of it has run lately",
    ],
    ["Owner", one.owner],
  ]);
}

async function send(event, chosen) {
  event.preventDefault();
  const values = Object.fromEntries(new FormData(event.target));
  const body = { application: chosen.name, version: values.version, artifact: values.artifact };
  if (values.commit) body.commit = values.commit;
  if (Number(values.attempt) > 1) body.attempt = Number(values.attempt);
  Object.assign(state, { busy: true, failure: null });
  page.redraw();
  try {
    const { release } = await call("POST", "releases", body);
    state.busy = false;
    location.hash = address("releases", release);
    const seen = (found) =>
      found.verdict
        ? { text: `${chosen.name} ${body.version}: ${found.verdict.reason}`, bad: !found.verdict.passed }
        : found.suites.length > 0 && { text: `${chosen.name} ${body.version} is being built.` };
    follow(`releases/${release}`, `Deploying ${chosen.name} ${body.version}…`, seen, {
      href: address("releases", release),
      text: "Follow it",
    });
  } catch (failure) {
    Object.assign(state, { busy: false, failure });
    page.redraw();
  }
}
