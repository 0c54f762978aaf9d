/** Applications: how each is configured, as a form with the document beside it, and who has changed what. */

import { h } from "./dom.js";
import { clock, count, exactly } from "./format.js";
import { changed, differences, form } from "./form.js";
import { address, isOperator, now, page } from "./page.js";
import { call, file, get } from "./session.js";
import { ask, button, code, empty, field, follow, table, why } from "./talk.js";

const NAME = "[a-z][a-z0-9\\-]{0,18}[a-z0-9]";

export const applications = {
  title: "Applications",
  every: () => 30_000,
  load: () => get("applications"),
  draw({ applications }) {
    const suites = (one) => one.suites?.map((suite) => suite.name).join(", ");
    const rows = applications.map((one) => ({
      key: one.name,
      cells: [
        h("a", { href: address("application", one.name) }, one.name),
        one.problem ? h("span", { class: "problem" }, one.problem) : one.owner,
        suites(one),
        one.image && `${one.image.family} · ${one.image.channel}`,
      ],
    }));
    return [
      rows.length
        ? table("Applications", ["Application", "Owner", "Suites", "Image"], rows)
        : empty("No application is configured", "The first one is a form away, or a file: mayfly app init."),
      isOperator() && h("p", { key: "new" }, h("a", { class: "button", href: "#/application" }, "Configure a new one")),
    ];
  },
};

const state = { name: null, base: 0, document: {}, text: "", broken: "", edited: false };

export const application = {
  title: (name) => (name ? `Configuration of ${name}` : "A new application"),
  every: () => 30_000,
  async load(name) {
    const [schema, found] = await Promise.all([
      file("application.schema.json"),
      name ? get(`applications/${encodeURIComponent(name)}/configuration`) : { version: 0, versions: [] },
    ]);
    return { ...found, schema };
  },
  draw({ schema, version, versions }, name) {
    if (state.name !== name || (!state.edited && state.base !== version)) begin(name, versions[0]);
    const newest = versions[0]?.document ?? {};
    const changes = differences(newest, state.document);
    const forbidden = isOperator() ? null : "Only an operator may change it.";
    return [
      state.base !== version &&
        h(
          "p",
          { key: "meanwhile", class: "problem", role: "alert" },
          `${versions[0]?.by} has changed it meanwhile: this was made from version ${state.base}. `,
          button("Begin anew", () => anew(name, versions[0])),
        ),
      h(
        "form",
        { key: `form of ${name}`, class: "deploy configuration", novalidate: true, onsubmit: (event) => event.preventDefault() },
        h(
          "div",
          { key: "fields", class: "inputs" },
          !name && named(),
          state.broken ? h("p", { class: "problem" }, "What stands beside is no JSON.") : form(schema, state.document, put),
        ),
        beside(),
      ),
      changes.length > 0 &&
        h("section", { key: "changes", "aria-label": "Changes" }, h("h3", {}, "What is changed"), listed(changes)),
      h(
        "div",
        { key: "buttons", class: "buttons" },
        button("Apply…", () => apply(name || state.called, changes), {
          kind: "primary",
          forbidden: forbidden ?? (state.broken || (changes.length ? null : "Nothing is changed.")),
        }),
        state.edited && button("Begin anew", () => anew(name, versions[0]), { kind: "quiet" }),
        name && version > 0 && button("Remove…", () => remove(name), { kind: "quiet", forbidden }),
      ),
      versions.length > 0 && history(versions, forbidden),
    ];
  },
};

/** Shows the newest version, as nobody has typed anything yet. */
function begin(name, newest) {
  const document = newest?.document ?? {};
  Object.assign(state, { name, base: newest?.version ?? 0, edited: false, called: "" });
  become(document);
}

function anew(name, newest) {
  begin(name, newest);
  page.redraw();
}

function become(document) {
  const isText = typeof document === "string";
  const text = isText ? document : JSON.stringify(document, null, 2);
  Object.assign(state, { document: isText ? {} : document, text, broken: isText ? "It is no JSON." : "" });
}

function put(path, value) {
  become(changed(state.document, path, value));
  state.edited = true;
  page.redraw();
}

const named = () =>
  field({
    name: "called",
    label: "Name",
    required: true,
    pattern: NAME,
    value: state.called,
    hint: "Lower-case letters, digits and hyphens, 20 at most. It stays what it is.",
    oninput: (event) => {
      state.called = event.target.value;
      page.redraw();
    },
  });

const beside = () =>
  h(
    "div",
    { key: "document", class: "field beside" },
    h("label", { for: "field-document" }, "The document"),
    h("textarea", {
      id: "field-document",
      spellcheck: "false",
      rows: "24",
      value: state.text,
      "aria-invalid": state.broken ? "true" : null,
      "aria-describedby": "field-document-hint",
      oninput: (event) => write(event.target.value),
    }),
    h("small", { id: "field-document-hint", class: state.broken ? "problem" : "hint" }, state.broken || "Form and document are the same; change either."),
  );

function write(text) {
  Object.assign(state, { text, edited: true });
  try {
    const document = JSON.parse(text);
    const isDocument = typeof document === "object" && document !== null && !Array.isArray(document);
    Object.assign(state, isDocument ? { document, broken: "" } : { broken: "Expected is a JSON object." });
  } catch (error) {
    state.broken = error.message;
  }
  page.redraw();
}

const listed = (changes) =>
  h(
    "ul",
    { class: "differences" },
    changes.map(({ place, before, after }) =>
      h(
        "li",
        { key: place },
        code(place),
        before !== undefined && [" ", h("del", {}, before)],
        after !== undefined && [" ", h("ins", {}, after)],
      ),
    ),
  );

function apply(name, changes) {
  ask({
    title: `Configure ${name}?`,
    lead: () => listed(changes),
    fields: [why("What is it for?")],
    action: "Apply",
    submit: async (values) => {
      if (!name) throw new Error("The application has no name yet.");
      const base = state.base;
      await send(name, state.document, values.why);
      const seen = (found) => found.version > base && { text: `${name} is configured: version ${found.version}.` };
      state.edited = false;
      if (!state.name) location.hash = address("application", name);
      follow(`applications/${name}/configuration`, `Configuring ${name}…`, seen);
    },
  });
}

function remove(name) {
  ask({
    title: `Remove ${name}?`,
    lead: () => h("p", {}, "Its configuration goes, with all its versions. What of it lives goes on until its deadline."),
    fields: [why("Why is it not needed any more?")],
    action: `Remove ${name}`,
    danger: true,
    submit: async (values) => {
      await send(name, null, values.why);
      const seen = (found) => found.version === 0 && { text: `${name} is removed.` };
      follow(`applications/${name}/configuration`, `Removing ${name}…`, seen);
    },
  });
}

const send = (name, document, why) =>
  call("PUT", `applications/${encodeURIComponent(name)}/configuration`, { document, made_from: state.base, why });

/** Who has written which version, when and why, and what it changed; the newest first. */
function history(versions, forbidden) {
  const version = (one, n) => {
    const changes = differences(versions[n + 1]?.document ?? {}, one.document);
    return h(
      "li",
      { key: `${one.version}` },
      h("time", { datetime: one.at, title: exactly(one.at) }, clock(one.at, now())),
      h(
        "div",
        {},
        h("strong", {}, `version ${one.version}`),
        h("span", { class: "by" }, one.by),
        one.why && h("p", {}, one.why),
        n < versions.length - 1 && h("details", {}, h("summary", {}, count(changes.length, "change")), listed(changes)),
        n > 0 &&
          button("Take this one", () => take(one), { kind: "quiet", forbidden }),
      ),
    );
  };
  return h(
    "section",
    { key: "versions", "aria-label": "Versions" },
    h("h3", {}, "Who has changed what"),
    h("ol", { class: "history" }, versions.map(version)),
  );
}

function take(one) {
  become(one.document);
  state.edited = true;
  page.redraw();
}
