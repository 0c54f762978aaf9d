/** A template, examined before it is a blueprint: what of it would fail, collide or stay, and what it takes. */

import { h } from "./dom.js";
import { count } from "./format.js";
import { page } from "./page.js";
import { call, get } from "./session.js";
import { empty, facts, field, table } from "./talk.js";

const LEGEND = {
  error: "an environment of it cannot be built, or not be ended",
  warning: "it costs something, or loses something",
  note: "how Mayfly will take it",
};

const state = { application: "", template: "", file: "", busy: false, failure: null, found: null };

export const blueprint = {
  title: () => "Check a blueprint",
  every: () => 60_000,
  load: () => get("applications"),
  draw({ applications }) {
    const named = state.application && !state.template;
    return [
      h(
        "p",
        { key: "lead" },
        "What of a CloudFormation template would fail, collide between two environments, or outlive them, and on which line.",
      ),
      h(
        "details",
        { key: "legend", class: "legend" },
        h("summary", {}, "What the findings mean"),
        facts(Object.entries(LEGEND)),
      ),
      h("p", { key: "note", class: "note" }, "And what one environment of it takes of each quota. No AWS account is asked."),
      h(
        "form",
        { key: "blueprint", class: "deploy", onsubmit: send },
        field({
          name: "application",
          label: "Application",
          kind: "select",
          value: state.application,
          options: [{ value: "", text: "none yet" }, ...applications.map((one) => ({ value: one.name, text: one.name }))],
          hint: "Its parameters are taken into account. Without a template, the blueprint that it names is examined.",
          onchange: (event) => become({ application: event.target.value }),
        }),
        field({
          name: "file",
          label: "Template",
          kind: "file",
          accept: ".yaml,.yml,.json,.template,.txt",
          hint: state.file ? `${state.file} is read; nothing is uploaded or kept.` : "Nothing of it is uploaded or kept.",
          onchange: (event) => take(event.target.files[0]),
        }),
        h(
          "details",
          { key: "paste", open: state.template && !state.file ? true : null },
          h("summary", {}, "Paste it instead"),
          h(
            "div",
            { class: "field" },
            h("label", { for: "field-template" }, "Template, as text"),
            h("textarea", {
              id: "field-template",
              rows: "8",
              spellcheck: "false",
              value: state.file ? "" : state.template,
              oninput: (event) => become({ template: event.target.value, file: "" }),
            }),
          ),
        ),
        state.failure &&
          state.failure.status !== 401 &&
          h("p", { key: "failure", class: "problem", role: "alert" }, state.failure.message),
        h(
          "button",
          { type: "submit", class: "primary big", disabled: state.busy || !(state.template || state.application) },
          state.busy ? "Checking…" : named ? `Check the blueprint of ${state.application}` : "Check",
        ),
      ),
      state.found && result(state.found),
    ];
  },
};

/** What is chosen now: what was found of something else is shown no more. */
function become(change) {
  Object.assign(state, { found: null, failure: null, ...change });
  page.redraw();
}

async function take(file) {
  if (file) become({ template: await file.text(), file: file.name });
}

function result(found) {
  const many = (level) => found.remarks.filter((one) => one.level === level).length;
  const errors = many("error");
  const verdict = errors
    ? `${count(errors, "error")}: an environment of it could not be built or ended.`
    : `No errors, ${count(many("warning"), "warning")}.`;
  return h(
    "section",
    { key: "result", "aria-label": "Result" },
    h("p", { class: errors ? "problem" : "note", role: "status" }, [found.blueprint, verdict].filter(Boolean).join(": ")),
    found.remarks.length
      ? table(
          "Findings",
          ["What", "#Line", "Where", "What was found"],
          found.remarks.map((one, n) => ({
            key: `${n}`,
            cells: [
              h("span", { class: one.level === "error" ? "problem" : null }, one.level),
              `${one.line}`,
              one.where,
              one.said,
            ],
          })),
        )
      : empty("Nothing to heed", "There is nothing to say about it."),
    found.takes.length > 0 && [
      h("h3", {}, "One environment takes"),
      table(
        "One environment takes",
        ["Quota", "#It takes", "#A new account has"],
        found.takes.map((one) => ({ key: one.quota, cells: [one.quota, `${+one.takes.toFixed(3)}`, `${one.default}`] })),
      ),
    ],
    found.not_reckoned.length > 0 && [
      h("h3", {}, "Not reckoned"),
      h(
        "ul",
        {},
        found.not_reckoned.map((one) => h("li", { key: one }, one)),
      ),
    ],
  );
}

async function send(event) {
  event.preventDefault();
  become({ busy: true });
  const { application, template } = state;
  try {
    const found = await call("POST", "blueprints/check", {
      ...(template && { template }),
      ...(application && { application }),
    });
    become({ busy: false, found });
  } catch (failure) {
    become({ busy: false, failure });
  }
}
