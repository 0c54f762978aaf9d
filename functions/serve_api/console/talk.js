/** What is said to people and asked of them: toasts, questions, chips, states of a page. */

import { h, render } from "./dom.js";
import { get, signIn, signInElsewhere } from "./session.js";
import { page } from "./page.js";

const FOLLOWED_EVERY = 2_000;
const FOLLOWED_TIMES = 60;

// ---- toasts -------------------------------------------------------------------------------------------------

const toasts = [];

/** Shows a short message. Returns how to change it: `say(kind, text)`, with a kind of `busy`, `done` or `bad`. */
export function toast(kind, text, link) {
  const one = { key: crypto.randomUUID(), kind, text, link };
  toasts.push(one);
  const leave = () => {
    if (one.kind !== "busy") close(one);
  };
  const say = (nextKind, nextText) => {
    Object.assign(one, { kind: nextKind, text: nextText });
    drawToasts();
    setTimeout(leave, nextKind === "bad" ? 20_000 : 8_000);
  };
  say(kind, text);
  return say;
}

function close(one) {
  const at = toasts.indexOf(one);
  if (at >= 0) toasts.splice(at, 1);
  drawToasts();
}

function drawToasts() {
  const shown = toasts
    .slice(-4)
    .map((one) =>
      h(
        "div",
        { key: one.key, class: `toast ${one.kind}` },
        h("span", { class: "mark", "aria-hidden": "true" }),
        h("p", {}, one.text, one.link && [" ", h("a", { href: one.link.href }, one.link.text)]),
        h("button", { class: "quiet", "aria-label": "Dismiss", onclick: () => close(one) }, "✕"),
      ),
    );
  render(document.getElementById("toasts"), shown);
  placeToasts();
}

/** Keeps the toasts in what is on top: the rest of the page is inert while the drawer is open. */
export function placeToasts() {
  const list = document.getElementById("toasts");
  const home = document.querySelector("#drawer[open]") ?? document.body;
  if (list.parentNode !== home) home.append(list);
}

/** Follows what was accepted to its effect: looks at `path` until `seen(answer)` is a text, and says that. */
export async function follow(path, first, seen, link) {
  const say = toast("busy", first, link);
  for (let left = FOLLOWED_TIMES; left > 0; left -= 1) {
    const found = await get(path)
      .then(seen, (failure) => {
        if (failure.status !== 404) throw failure;
        return null;
      })
      .catch(() => null);
    if (found) {
      say(found.bad ? "bad" : "done", found.text);
      page.refresh();
      return;
    }
    await new Promise((done) => setTimeout(done, FOLLOWED_EVERY));
  }
  say("bad", `${first} No effect was seen within two minutes; the history or the dead letters may tell why.`);
}

/** That the sign-in is over, and the way to go on: where something is typed, without leaving it. */
export const signInIsOver = () =>
  page.over &&
  h(
    "div",
    { class: "banner stale", role: "alert", key: "over" },
    h("strong", {}, "Your sign-in is over."),
    h("span", {}, "Sign in again to go on where you were; what you have typed stays."),
    h(
      "button",
      {
        type: "button",
        onclick: () => (document.querySelector("#ask[open], form.deploy") ? signInElsewhere() : signIn()),
      },
      "Sign in",
    ),
  );

/** How far back a list reaches, up to as long as records are kept. */
export const reach = (days, choose) =>
  h(
    "label",
    { key: "reach", class: "pick" },
    h("span", { class: "unseen" }, "Days"),
    h(
      "select",
      { value: `${days}`, onchange: (event) => choose(event.target.value) },
      [...new Set([1, 7, 30, 90, 366, Number(days)])]
        .sort((a, b) => a - b)
        .map((one) => h("option", { key: one, value: `${one}` }, one === 1 ? "the last day" : `the last ${one} days`)),
    ),
  );

// ---- questions ----------------------------------------------------------------------------------------------

/** One labelled input. `kind` is text, textarea, number, select or choices. */
export function field({ name, label, kind = "text", value, hint, options, problem, ...more }) {
  const id = `field-${name}`;
  const said = [hint && `${id}-hint`, problem && `${id}-problem`].filter(Boolean).join(" ") || null;
  const facts = { id, name, "aria-describedby": said, "aria-invalid": problem ? "true" : null, value, ...more };
  const below = [
    hint && h("small", { id: `${id}-hint`, class: "hint" }, hint),
    problem && h("small", { id: `${id}-problem`, class: "problem" }, problem),
  ];
  if (kind === "choices") {
    const choice = (one) =>
      h(
        "label",
        { class: "choice", key: `${one.value}` },
        h("input", {
          type: "radio",
          name,
          value: one.value,
          checked: `${one.value}` === `${value}`,
        }),
        h("span", {}, one.text),
      );
    return h(
      "fieldset",
      { key: name, class: "field" },
      h("legend", {}, label),
      h("div", { class: "choices" }, options.map(choice)),
      below,
    );
  }
  const input =
    kind === "select"
      ? h(
          "select",
          facts,
          options.map((one) => h("option", { key: `${one.value}`, value: one.value }, one.text)),
        )
      : kind === "textarea"
        ? h("textarea", { rows: "3", spellcheck: "false", ...facts })
        : h("input", { type: kind, autocomplete: "off", spellcheck: "false", ...facts });
  return h("div", { key: name, class: "field" }, h("label", { for: id }, label), input, below);
}

/** The one field that every change by hand has. */
export const why = (example) =>
  field({
    name: "why",
    label: "Why",
    required: true,
    maxlength: "1024",
    placeholder: example,
    hint: "Kept in its history, with your name.",
  });

/** Asks in a dialog. `lead(values)` says what is asked, above the `fields`; `submit(values)` does it, and the dialog
    closes when that works. */
export function ask({ title, lead, fields, action, danger, submit }) {
  const dialog = document.getElementById("ask");
  const state = { busy: false, failure: null };
  const close = () => dialog.close();
  const draw = () => {
    const form = dialog.querySelector("form");
    const values = form ? Object.fromEntries(new FormData(form)) : {};
    const problems = Object.fromEntries(
      (state.failure?.fields ?? []).map((one) => [one.field, `expected ${one.expected}`]),
    );
    render(
      dialog,
      h(
        "form",
        { key: title, onsubmit: send, oninput: draw },
        h("h2", { id: "ask-title" }, title),
        signInIsOver(),
        lead(values),
        fields,
        Object.entries(problems).map(([name, text]) => h("p", { class: "problem" }, `${name}: ${text}`)),
        state.failure &&
          state.failure.status !== 401 &&
          h("p", { class: "problem", role: "alert" }, state.failure.message),
        h(
          "div",
          { class: "buttons" },
          h("button", { type: "button", class: "quiet", onclick: close }, "Cancel"),
          h(
            "button",
            { type: "submit", class: danger ? "danger" : "primary", disabled: state.busy },
            state.busy ? "Sending…" : action,
          ),
        ),
      ),
    );
  };
  const send = async (event) => {
    event.preventDefault();
    const values = Object.fromEntries(new FormData(event.target));
    Object.assign(state, { busy: true, failure: null });
    draw();
    try {
      await submit(values);
      close();
    } catch (failure) {
      Object.assign(state, { busy: false, failure });
      page.redraw();
    }
  };
  render(dialog);
  dialog.setAttribute("aria-labelledby", "ask-title");
  draw();
  draw(); // once more with the values that the inputs begin with
  // A step of history, so that Back closes the dialog and not the page below it.
  history.pushState({ asked: true }, "");
  dialog.onclose = () => {
    page.asking = null;
    if (!history.state?.asked) return;
    page.returning = new Promise((resolve) =>
      window.addEventListener("popstate", () => resolve((page.returning = null)), { once: true }),
    );
    history.back();
  };
  page.asking = draw;
  dialog.showModal();
  (dialog.querySelector("input:not([type=radio]), select") ?? dialog.querySelector("button")).focus();
}

// ---- small pieces -------------------------------------------------------------------------------------------

/** An icon of the page's own sprite. */
export const icon = (name) => h("svg", { class: "icon", "aria-hidden": "true" }, h("use", { href: `#i-${name}` }));

/** A stage, an outcome or an action, in the tone that the answer says; or that it sleeps. */
export const chip = ({ stage, outcome, action, tone, asleep_since: asleep }) =>
  h("span", { class: `chip ${asleep ? "neutral" : tone}` }, asleep ? "asleep" : (stage ?? outcome ?? action));

/** An id of AWS or of a commit: monospaced, whole in its title. */
export const code = (text, shown = text) => text && h("code", { title: text === shown ? null : text }, shown);

/** A button that is there, but disabled with a reason, where one may not. */
export const button = (text, onclick, { kind = "", forbidden } = {}) =>
  h(
    "button",
    {
      type: "button",
      class: kind,
      onclick: forbidden ? null : onclick,
      "aria-disabled": forbidden ? "true" : null,
      title: forbidden || null,
      "aria-description": forbidden || null,
    },
    text,
  );

/** A state of a page that has nothing to show. */
export const empty = (title, text, ...more) =>
  h("div", { class: "empty" }, icon("mayfly"), h("h2", {}, title), h("p", {}, text), more);

/** Lines of the shape of what is being loaded. */
export const skeleton = (rows = 6) =>
  h(
    "div",
    { class: "skeleton", role: "status", "aria-label": "Loading" },
    Array.from({ length: rows }, () => h("div", { class: "bone" })),
  );

/** A table that scrolls by itself where it is too wide. `rows` are {key, cells}. */
export const table = (label, heads, rows) =>
  h(
    "div",
    { class: "scrolls", tabindex: "0", role: "region", "aria-label": label },
    h(
      "table",
      {},
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          heads.map((head) =>
            h("th", { scope: "col", class: head.startsWith("#") ? "number" : null }, head.replace("#", "")),
          ),
        ),
      ),
      h(
        "tbody",
        {},
        rows.map((row) =>
          h(
            "tr",
            { key: row.key },
            row.cells.map((cell, n) => h("td", { class: heads[n].startsWith("#") ? "number" : null }, cell)),
          ),
        ),
      ),
    ),
  );

/** What a machine has printed, as it stands there. */
export const printed = (title, said) =>
  h("section", { key: title }, h("h3", {}, title), h("pre", { class: "log", tabindex: "0", "aria-label": title }, said));

/** Facts as a list of terms; those without a value are left out. */
export const facts = (pairs) =>
  h(
    "dl",
    { class: "facts" },
    pairs
      .filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false)
      .map(([term, value]) => h("div", { key: term }, h("dt", {}, term), h("dd", {}, value))),
  );
