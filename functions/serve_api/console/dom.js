/** Elements as data, and the least changes that make a page look like them. Data becomes text, never HTML. */

const SVG = "http://www.w3.org/2000/svg";

/** An element to be: `h("a", {href, onclick, key}, "text", [more])`. What is null, undefined, false or "" is left out.

    A child is known again by its `key`, or else by its place among what was written, left out or not. */
export function h(tag, facts, ...children) {
  return { tag, facts: facts ?? {}, children: placed(children), key: facts?.key };
}

/** An element that is made anew only when `facts` has changed: those of many rows that have not cost nothing. */
export function memo(key, facts, make) {
  return { key, memo: facts, make };
}

/** Makes the children of `parent` look like `wanted`. Elements that are known again stay the same elements. */
export function render(parent, ...wanted) {
  fill(parent, placed(wanted));
}

/** The children that are there, by what each is known again by. */
function placed(children, path = "", found = new Map()) {
  children.forEach((one, n) => {
    if (Array.isArray(one)) placed(one, `${path}${n}.`, found);
    else if (one !== null && one !== undefined && one !== false && one !== "") {
      let name = one.key === undefined ? `${path}${n}` : `=${one.key}`;
      while (found.has(name)) name += "'";
      found.set(name, one);
    }
  });
  return found;
}

function fill(parent, wanted) {
  const before = parent.drawn ?? new Map();
  const after = new Map();
  for (const [name, one] of wanted) {
    const old = before.get(name);
    after.set(name, old && alike(old, one) ? update(old, one) : create(one, parent));
  }
  const kept = new Set([...after.values()].map((one) => one.node));
  for (const { node } of before.values()) if (!kept.has(node)) node.remove();
  let place = parent.firstChild;
  for (const node of kept) {
    if (node === place) place = place.nextSibling;
    // Moved where the browser can do that: what has the focus keeps it.
    else if (node.parentNode && parent.moveBefore) parent.moveBefore(node, place);
    else parent.insertBefore(node, place);
  }
  parent.drawn = after;
}

function alike(drawn, wanted) {
  if (typeof wanted !== "object") return drawn.tag === "";
  return wanted.make ? drawn.memo !== undefined : drawn.memo === undefined && drawn.tag === wanted.tag;
}

function create(wanted, parent) {
  if (typeof wanted !== "object") return { tag: "", text: `${wanted}`, node: document.createTextNode(wanted) };
  if (wanted.make) {
    const made = create(wanted.make(), parent);
    return { tag: made.tag, node: made.node, memo: wanted.memo, made };
  }
  const inSvg = wanted.tag === "svg" || parent.namespaceURI === SVG;
  const node = inSvg ? document.createElementNS(SVG, wanted.tag) : document.createElement(wanted.tag);
  const drawn = { tag: wanted.tag, facts: {}, node };
  // Children first: a select takes its value from them.
  fill(node, wanted.children);
  decorate(drawn, wanted.facts);
  return drawn;
}

function update(drawn, wanted) {
  if (typeof wanted !== "object") {
    if (drawn.text !== `${wanted}`) drawn.node.data = drawn.text = `${wanted}`;
    return drawn;
  }
  if (wanted.make) {
    if (drawn.memo === wanted.memo) return drawn;
    const next = wanted.make();
    if (!alike(drawn.made, next)) return create({ ...wanted, make: () => next }, drawn.node.parentNode);
    update(drawn.made, next);
    drawn.memo = wanted.memo;
    return drawn;
  }
  fill(drawn.node, wanted.children);
  decorate(drawn, wanted.facts);
  return drawn;
}

const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "required", "open", "life"]);

function decorate(drawn, facts) {
  const { node } = drawn;
  for (const name of new Set([...Object.keys(drawn.facts), ...Object.keys(facts)])) {
    const [before, after] = [drawn.facts[name], facts[name]];
    // A value that the caller has not changed stays what the user has made of it.
    if (before === after || name === "key") continue;
    if (name === "ref") after?.(node);
    else if (name.startsWith("on")) node[name] = after ?? null;
    else if (name === "style") for (const [key, value] of Object.entries(after ?? {})) setStyle(node, key, value);
    else if (PROPERTIES.has(name)) node[name] = after ?? "";
    else if (after === null || after === undefined || after === false) node.removeAttribute(name);
    else node.setAttribute(name, after === true ? "" : after);
  }
  drawn.facts = facts;
}

/** Sets a custom property, where it is another one than before. */
export function setStyle(node, name, value) {
  if (node.style.getPropertyValue(name) !== `${value}`) node.style.setProperty(name, value);
}

/** Sets a text, where it is another one than before. */
export function setText(node, text) {
  if (!node.firstChild) node.append(text);
  else if (node.firstChild.data !== text) node.firstChild.data = text;
}
