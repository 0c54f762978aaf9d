/** A form that a JSON Schema describes, over a document that is data: each field changes one place of it. */

import { h } from "./dom.js";
import { button, field } from "./talk.js";

const LONG = 1024; // characters, above which a text gets several lines

let typing = null; // {name, text} of the field that somebody writes in: it stays as it is written until it is left

/** The fields of a document. `put(path, value)` changes one place of it; undefined leaves that out. */
export const form = (schema, document, put) => properties({ defs: schema.$defs ?? {}, put }, schema, document, []);

/** A copy of a document in which one place is another. */
export function changed(document, [first, ...rest], value) {
  const copy = Array.isArray(document) ? [...document] : { ...document };
  const next = rest.length ? changed(copy[first] ?? {}, rest, value) : value;
  if (next === undefined) delete copy[first];
  else copy[first] = next;
  return copy;
}

/** Where two documents differ: `{place, before, after}`, each as text; undefined where there is nothing. */
export function differences(before, after) {
  const [was, is] = [leaves(before), leaves(after)];
  return [...new Set([...was.keys(), ...is.keys()])]
    .filter((place) => was.get(place) !== is.get(place))
    .map((place) => ({ place, before: was.get(place), after: is.get(place) }));
}

function leaves(value, place = "", found = new Map()) {
  if (isObject(value) && Object.keys(value).length)
    for (const [name, one] of Object.entries(value)) leaves(one, place ? `${place}.${name}` : name, found);
  else if (value !== undefined) found.set(place, typeof value === "string" ? value : JSON.stringify(value));
  return found;
}

const isObject = (value) => typeof value === "object" && value !== null;

/** A name of the document as a label: `lifetime_minutes` as `Lifetime minutes`. */
const label = (name) => name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " ");

const properties = (made, of, value, path) =>
  Object.entries(of.properties)
    .filter(([, one]) => !("const" in one))
    .map(([name, one]) => place(made, one, value?.[name], [...path, name], (of.required ?? []).includes(name)));

/** What a place may hold, without references, and without that it may be null: then it is left out. */
function resolved(made, { $ref, anyOf, oneOf, ...own }) {
  if ($ref) return { ...resolved(made, made.defs[$ref.split("/").at(-1)]), ...own };
  const some = (anyOf ?? oneOf ?? []).filter((one) => one.type !== "null").map((one) => resolved(made, one));
  if (some.length === 1) return { ...some[0], ...own };
  return some.length ? { ...own, some: some.flatMap((one) => one.some ?? [one]) } : own;
}

function place(made, said, value, path, required) {
  const of = resolved(made, said);
  const at = { made, of, value, path, required, name: path.join("."), label: label(`${path.at(-1)}`) };
  if (of.some?.some((one) => one.properties)) return oneOfSome(at);
  if (of.enum || of.type === "boolean") return choice(at);
  if (of.type === "array") return resolved(made, of.items).properties ? list(at) : words(at);
  if (of.properties) return group(at);
  if (of.type === "object" && isObject(of.additionalProperties)) return pairs(at);
  return of.type === "string" || of.type === "integer" ? scalar(at) : anything(at);
}

/** What the schema says of a place, without the marks of code. */
const described = (of) => of.description?.replaceAll("``", "");

/** One input whose text is the place's value, by `read`. */
const input = ({ made, of, path, required, name, label }, value, read, more) =>
  field({
    name,
    label,
    hint: described(of),
    value: typing?.name === name ? typing.text : value,
    required,
    oninput: (event) => {
      const text = event.target.value;
      typing = { name, text };
      made.put(path, text === "" ? undefined : read(text));
    },
    onblur: () => (typing = null),
    ...more,
  });

function scalar(at) {
  const { of, value } = at;
  const placeholder = of.default === undefined || of.default === null ? null : `${of.default}`;
  if (of.type === "integer")
    return input(at, value ?? "", Number, { kind: "number", min: of.minimum, max: of.maximum, placeholder });
  const kind = of.maxLength > LONG ? "textarea" : "text";
  return input(at, value ?? "", String, { kind, maxlength: of.maxLength, pattern: of.pattern, placeholder });
}

function choice(at) {
  const { of, value, required } = at;
  const known = of.enum ?? [true, false];
  const shown = (one) => ({ true: "yes", false: "no" })[one] ?? `${one}`;
  const options = known.map((one) => ({ value: `${one}`, text: shown(one) }));
  const left = of.default === undefined || of.default === null ? "" : `as usual: ${shown(of.default)}`;
  return input(at, value === undefined ? "" : `${value}`, (text) => known.find((one) => `${one}` === text), {
    kind: "select",
    options: required && value !== undefined ? options : [{ value: "", text: left }, ...options],
  });
}

/** Several words or numbers, in one line. */
function words(at) {
  const { made, of, value } = at;
  const one = resolved(made, of.items);
  const listed = (text) =>
    text
      .split(",")
      .map((each) => each.trim())
      .filter(Boolean);
  const read = (text) => listed(text).map((each) => (one.type === "integer" ? Number(each) : each));
  const hint = [described(of), `Separated by commas${one.enum ? `, of ${one.enum.join(", ")}` : ""}.`];
  return input(at, Array.isArray(value) ? value.join(", ") : "", read, {
    hint: hint.filter(Boolean).join(" "),
    placeholder: of.default?.join(", "),
  });
}

/** Names with their values, a line each. */
function pairs(at) {
  const { of, value } = at;
  const read = (text) =>
    Object.fromEntries(
      text
        .split("\n")
        .filter((line) => line.trim())
        .map((line) => line.split(/=(.*)/s))
        .map(([name, after = ""]) => [name.trim(), after.trim()]),
    );
  const shown = Object.entries(value ?? {}).map(([name, one]) => `${name}=${one}`);
  const hint = [described(of), "Each in a line: Name=value."].filter(Boolean).join(" ");
  return input(at, shown.join("\n"), read, { kind: "textarea", rows: Math.max(2, shown.length + 1), hint });
}

/** What is a document of its own. */
function anything(at) {
  const read = (text) => {
    try {
      return JSON.parse(text);
    } catch {
      return text;
    }
  };
  const shown = at.value === undefined || typeof at.value === "string" ? (at.value ?? "") : JSON.stringify(at.value);
  return input(at, shown, read, { kind: "textarea", placeholder: `${at.of.default ?? ""}` });
}

const part = ({ name, label, of }, ...children) =>
  h(
    "fieldset",
    { key: name, class: "part" },
    h("legend", {}, label),
    described(of) && h("small", { class: "hint" }, described(of)),
    children,
  );

function group(at) {
  const { made, of, value, path, required, label } = at;
  if (value === undefined && !required)
    return part(at, button(`Set ${label.toLowerCase()}`, () => made.put(path, {})));
  return part(
    at,
    properties(made, of, value, path),
    !required && button(`Leave ${label.toLowerCase()} out`, () => made.put(path, undefined), { kind: "quiet" }),
  );
}

/** One of several kinds, each with fields of its own, or a word that says it all. */
function oneOfSome(at) {
  const { made, of, value, path, label, name } = at;
  const kinds = Object.fromEntries(of.some.filter((one) => one.properties).map((one) => [one.properties.type.const, one]));
  const known = [...of.some.flatMap((one) => one.enum ?? []), ...Object.keys(kinds)];
  const chosen = isObject(value) ? value.type : value;
  const become = (word) => made.put(path, word === "" ? undefined : kinds[word] ? { type: word } : word);
  return part(
    at,
    field({
      name,
      label: `Kind of ${label.toLowerCase()}`,
      kind: "select",
      value: chosen ?? "",
      options: [{ value: "", text: "as usual" }, ...known.map((one) => ({ value: one, text: one }))],
      onchange: (event) => become(event.target.value),
    }),
    kinds[chosen] && properties(made, kinds[chosen], value, path),
  );
}

function list(at) {
  const { made, of, value, path, required, label } = at;
  const items = Array.isArray(value) ? value : [];
  const one = resolved(made, of.items);
  const put = (next) => made.put(path, next.length || required ? next : undefined);
  const item = (each, n) =>
    h(
      "fieldset",
      { key: `${n}`, class: "part" },
      h("legend", {}, each?.name || `${n + 1}`),
      properties(made, one, each, [...path, n]),
      button(`Remove ${each?.name || n + 1}`, () => put(items.filter((_, other) => other !== n)), { kind: "quiet" }),
    );
  return part(at, items.map(item), button(`Add to ${label.toLowerCase()}`, () => put([...items, {}])));
}
