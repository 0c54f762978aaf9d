/** The console: its header, its routes, and what keeps it up to date. */

import { application, applications } from "./applications.js";
import { bakePage } from "./bake.js";
import { blueprint } from "./blueprint.js";
import { board } from "./board.js";
import { costs } from "./costs.js";
import { deadLetter, deadLetters } from "./deadletters.js";
import { deploy } from "./deploy.js";
import { h, render, setText } from "./dom.js";
import { environment } from "./environment.js";
import { clock, duration, exactly } from "./format.js";
import { images } from "./images.js";
import { instancePage } from "./instance.js";
import { tick } from "./life.js";
import { isOperator, mayChangeAny, now, page, query } from "./page.js";
import { release } from "./release.js";
import { rollout, rollouts } from "./rollouts.js";
import { begin, call, get, isSignedIn, onOthers, signIn, signOut, version } from "./session.js";
import { sweep, sweeps } from "./sweeps.js";
import { ask, button, empty, follow, icon, placeToasts, signInIsOver, skeleton, why } from "./talk.js";

const EVERY = 5_000;
const AT_MOST = 60_000;
const VIEWS = { "": board, applications, images, rollouts, sweeps, "dead-letters": deadLetters, costs };
const NOWHERE = {
  title: "No such page",
  load: async () => ({}),
  draw: () =>
    empty(
      "There is no such page",
      `Nothing is at ${location.hash}. The address may be cut, or of another version of Mayfly.`,
      h("a", { class: "button", href: "#/" }, "To the live board"),
    ),
};
const DRAWERS = {
  application,
  environments: environment,
  releases: release,
  deploy,
  blueprint,
  sweep,
  rollout,
  bake: bakePage,
  instance: instancePage,
  "dead-letter": deadLetter,
};

const at = { view: "", drawer: null, id: "", deed: null };
const view = () => VIEWS[at.view] ?? NOWHERE;
const data = new Map(); // what was loaded last, by view or drawer
const state = {
  turn: 0,
  failures: 0,
  failure: null,
  drawerFailure: null,
  updated: 0,
  timer: 0,
  note: null,
};

// ---- loading --------------------------------------------------------------------------------------------------

const drawerKey = () => `${at.drawer}/${at.id}`;

/** Loads what is shown, now and from then on. What one has left meanwhile is not drawn. */
async function refresh() {
  clearTimeout(state.timer);
  if (!isSignedIn()) {
    draw();
    return;
  }
  const turn = (state.turn += 1);
  const [shown, over] = [at.view, drawerKey()];
  const [main, drawer, killSwitch] = await everything();
  if (turn !== state.turn) return;
  if (main.value) keep(shown, main.value);
  if (drawer.value) keep(over, drawer.value);
  if (killSwitch.value) page.killSwitch = killSwitch.value;
  state.failure = main.reason ?? null;
  state.drawerFailure = drawer.reason ?? null;
  state.failures = state.failure ? state.failures + 1 : 0;
  if (!state.failure) state.updated = Date.now();
  page.over = !isSignedIn();
  if (state.failure?.status !== 403 && !page.over) again();
  draw();
  if (drawer.value && at.deed) doOnce();
}

/** What a link asks for, once: its dialog, which a person still confirms. */
function doOnce() {
  const act = DRAWERS[at.drawer].deeds?.(data.get(drawerKey()))[at.deed];
  at.deed = null;
  history.replaceState(history.state, "", location.hash.split("?")[0]);
  if (act) act();
}

/** Loads the view, the drawer and the kill switch, each settled for itself. */
async function everything() {
  try {
    // Who looks comes first: what is loaded and offered depends on it.
    page.me ??= await get("me");
  } catch (reason) {
    return [{ reason }, {}, {}];
  }
  return Promise.allSettled([view().load(), at.drawer && DRAWERS[at.drawer].load(at.id), get("kill-switch")]);
}

function keep(key, loaded) {
  data.set(key, loaded);
  if (loaded.now) page.offset = Date.parse(loaded.now) - Date.now();
}

function again() {
  clearTimeout(state.timer);
  const [kind, key] = at.drawer ? [DRAWERS[at.drawer], drawerKey()] : [view(), at.view];
  const every = (data.has(key) && kind.every?.(data.get(key))) || EVERY;
  const wait = Math.min(AT_MOST, every * 2 ** state.failures);
  state.next = Date.now() + wait;
  if (!document.hidden) state.timer = setTimeout(refresh, wait);
}

// ---- routes ---------------------------------------------------------------------------------------------------

function route() {
  const [path, filters] = location.hash.replace(/^#\/?/, "").split("?");
  const [name = "", ...rest] = path.split("/").map(decodeURIComponent);
  const before = `${at.view} ${drawerKey()}`;
  if (Object.hasOwn(DRAWERS, name)) {
    Object.assign(at, { drawer: name, id: rest.join("/"), deed: query().do ?? null });
    DRAWERS[name].filter?.(query());
  } else {
    const known = Object.hasOwn(VIEWS, name) && !rest.length;
    Object.assign(at, { view: known ? name : null, drawer: null, id: "" });
    page.filters = filters ?? "";
    view().filter?.(query());
  }
  if (before !== `${at.view} ${drawerKey()}`) Object.assign(state, { failure: null, drawerFailure: null });
  draw();
  refresh();
}

// ---- drawing --------------------------------------------------------------------------------------------------

function draw() {
  if (!isInside()) document.getElementById("ask").close();
  document.title = title();
  render(document.getElementById("top"), isInside() ? header() : []);
  render(document.getElementById("main"), isInside() ? content() : welcome(state));
  render(document.getElementById("foot"), isInside() ? footer() : []);
  drawDrawer();
  page.asking?.();
  everySecond();
}

/** Whether somebody is signed in, or was a moment ago: what they see and have typed stays. */
const isInside = () => isSignedIn() || page.over;

function title() {
  const over = at.drawer && isInside() ? DRAWERS[at.drawer].title(at.id) : "";
  return [over || view().title, "Mayfly"].filter(Boolean).join(" · ");
}

const welcome = ({ failure, note }) =>
  h(
    "section",
    { class: "welcome" },
    icon("mayfly"),
    h("h1", {}, "Mayfly"),
    h("p", { class: "motto" }, "Environments that live for a day, and not a moment longer than they are needed."),
    note && h("p", { class: "problem", role: "alert" }, note),
    failure?.status === 0 || failure?.status >= 500
      ? h("button", { class: "primary", type: "button", onclick: () => location.reload() }, "Try again")
      : h("button", { class: "primary", type: "button", onclick: signIn }, "Sign in"),
  );

function header() {
  const link = ([path, view]) =>
    h("a", { href: `#/${path}`, "aria-current": path === at.view ? "page" : null }, view.title);
  return [
    h(
      "div",
      { class: "bar", key: "bar" },
      h(
        "a",
        { class: "brand", href: "#/", "aria-label": "Mayfly, live board" },
        icon("mayfly"),
        h("span", {}, "Mayfly"),
      ),
      h("nav", { "aria-label": "Views" }, Object.entries(VIEWS).map(link)),
      // All at once, when it is known who looks: a button that moves is a button that is hit by mistake.
      page.me &&
        h(
          "div",
          { class: "tools" },
          killSwitch(),
          mayChangeAny() && h("a", { class: "button primary deploy", href: "#/deploy" }, icon("deploy"), "Deploy"),
          h(
            "button",
            {
              type: "button",
              class: "quiet round",
              "aria-label": `Theme: ${theme()}`,
              title: `Theme: ${theme()}`,
              onclick: turnTheme,
            },
            icon("theme"),
          ),
          who(),
        ),
    ),
    page.killSwitch?.on &&
      h(
        "div",
        { class: "banner kill", role: "alert", key: "kill" },
        h("strong", {}, "The kill switch is on: nothing is ended."),
        h("span", {}, page.killSwitch.why),
        isOperator() && button("Turn off…", askSwitch),
      ),
    signInIsOver() || stale(),
  ];
}

function killSwitch() {
  if (!page.killSwitch) return null;
  const text = page.killSwitch.on ? "Kill switch on" : "Kill switch off";
  const forbidden = isOperator() ? null : "Only an operator may turn the kill switch.";
  const facts = {
    type: "button",
    class: `switch ${page.killSwitch.on ? "on" : "off"}`,
    "aria-pressed": `${page.killSwitch.on}`,
  };
  return h(
    "button",
    {
      ...facts,
      onclick: forbidden ? null : askSwitch,
      "aria-disabled": forbidden ? "true" : null,
      title: forbidden ?? text,
    },
    icon("switch"),
    h("span", {}, text),
  );
}

function askSwitch() {
  const on = !page.killSwitch.on;
  ask({
    title: on ? "Turn the kill switch on?" : "Turn the kill switch off?",
    lead: () =>
      h(
        "p",
        {},
        on
          ? "From then on nothing is ended, no environment and no image. What lives goes on costing money."
          : "Ending goes on at once: everything past its deadline is ended with the next sweep, within its caps.",
      ),
    fields: [why(on ? "What is going wrong?" : "What is well again?")],
    action: on ? "Turn it on" : "Turn it off",
    danger: on,
    submit: async (values) => {
      await call("PUT", "kill-switch", { on, why: values.why });
      const seen = (found) => found.on === on && { text: `The kill switch is ${on ? "on" : "off"}.` };
      follow("kill-switch", `Turning the kill switch ${on ? "on" : "off"}…`, seen);
    },
  });
}

function who() {
  const { role, applications } = page.me;
  const may = applications.length && !isOperator() ? `${role} of ${applications.join(", ")}` : role;
  return h(
    "details",
    { class: "who" },
    h(
      "summary",
      { title: `${page.me.who}, ${may}` },
      page.me.who.slice(0, 1).toUpperCase(),
      h("span", { class: "unseen" }, `${page.me.who}, account`),
    ),
    h(
      "div",
      { class: "menu" },
      h("strong", {}, page.me.who),
      h("p", {}, may),
      h("button", { type: "button", onclick: signOut }, "Sign out"),
    ),
  );
}

function stale() {
  if (!state.failure || !data.has(at.view)) return null;
  const since = state.updated
    ? `What you see is of ${exactly(new Date(state.updated).toISOString())}.`
    : "";
  return h(
    "div",
    { class: "banner stale", role: "alert", key: "stale" },
    h("strong", {}, state.failure.message),
    h("span", {}, since),
    button("Try now", refresh),
  );
}

function content() {
  const loaded = data.get(at.view);
  if (loaded)
    return [
      h("h1", { class: "unseen", key: "title" }, view().title),
      h("div", { key: at.view ?? "nowhere", class: "view" }, view().draw(loaded)),
    ];
  if (state.failure) return h("div", { key: "failure" }, failure(state.failure, refresh));
  return h("div", { key: "loading", class: "view" }, skeleton(10));
}

/** What is said where nothing can be shown. */
function failure({ status, message }, retry) {
  if (status === 401) return empty("Your sign-in is over", "What is here is shown as soon as you have signed in again.");
  if (status === 403)
    return empty(
      "You may not look at this",
      message,
      h("button", { type: "button", onclick: signOut }, "Sign in as somebody else"),
    );
  if (status === 404) return empty("There is no such thing", message);
  if (status === 0)
    return empty(
      "No answer",
      "The API cannot be reached: it, or the network, is down. This page goes on trying.",
      button("Try now", retry),
    );
  return empty("That did not work", message, button("Try now", retry));
}

function footer() {
  return [
    h("p", {}, h("span", { class: "pulse", key: state.updated }), " ", h("span", { class: "updated" })),
    h("p", { class: "keys" }, h("kbd", {}, "/"), " filters, ", h("kbd", {}, "Esc"), " closes"),
    h("p", {}, h("span", { class: "time" }), version() && ` · Mayfly ${version()}`),
  ];
}

function drawDrawer() {
  const drawer = document.getElementById("drawer");
  if (!at.drawer || !isInside()) {
    if (drawer.open) drawer.close();
    placeToasts();
    return;
  }
  const kind = DRAWERS[at.drawer];
  const loaded = data.get(drawerKey());
  const body = loaded
    ? kind.draw(loaded, at.id)
    : state.drawerFailure
      ? failure(state.drawerFailure, refresh)
      : skeleton(5);
  render(
    drawer,
    h(
      "div",
      { class: "sheet", key: drawerKey() },
      h(
        "div",
        { class: "head" },
        h("h2", { id: "drawer-title", tabindex: "-1" }, kind.title(at.id)),
        h(
          "button",
          { type: "button", class: "quiet round", "aria-label": "Close", onclick: () => drawer.close() },
          "✕",
        ),
      ),
      signInIsOver(),
      loaded && state.drawerFailure && !page.over && h("p", { class: "problem", role: "alert" }, state.drawerFailure.message),
      h("div", { class: "body" }, body),
    ),
  );
  if (!drawer.open) {
    drawer.showModal();
    placeToasts();
    (drawer.querySelector("form select, form input") ?? drawer.querySelector("h2")).focus();
  }
}

function leaveDrawer() {
  if (!at.drawer) return;
  const leave = () => (location.hash = `#/${at.view ?? ""}${page.filters ? `?${page.filters}` : ""}`);
  if (!page.returning) {
    leave();
    return;
  }
  // A question was closed right before, and its step back is on its way: it would lead back to the drawer.
  Object.assign(at, { drawer: null, id: "" });
  page.returning.then(leave);
}

// ---- theme ----------------------------------------------------------------------------------------------------

const theme = () => localStorage.getItem("mayfly.theme") ?? "as the system";

function turnTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const [first, second] = dark ? ["light", "dark"] : ["dark", "light"];
  const next = { "as the system": first, [first]: second }[theme()];
  if (next) localStorage.setItem("mayfly.theme", next);
  else localStorage.removeItem("mayfly.theme");
  showTheme();
  draw();
}

function showTheme() {
  const chosen = localStorage.getItem("mayfly.theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
  else delete document.documentElement.dataset.theme;
}

// ---- once a second ----------------------------------------------------------------------------------------------

function everySecond() {
  if (document.hidden || !isInside()) return;
  tick(now());
  const updated = document.querySelector(".updated");
  if (!updated) return;
  const seconds = Math.round((Date.now() - state.updated) / 1000);
  const retry = state.failures ? ` · next try in ${Math.max(0, Math.ceil((state.next - Date.now()) / 1000))} s` : "";
  const since = state.updated ? `Updated ${seconds < 2 ? "just now" : `${duration(seconds * 1000)} ago`}${retry}` : "";
  setText(updated, since);
  setText(document.querySelector(".time"), `${clock(new Date(now()).toISOString(), now())} UTC`);
}

// ---- the keyboard -----------------------------------------------------------------------------------------------

function pressed(event) {
  const typing = event.target.closest("input, select");
  const filter = document.querySelector(
    document.querySelector("#drawer[open]") ? "#drawer [type=search]" : "#main [type=search]",
  );
  if (event.key === "/" && !typing && filter && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    filter.focus();
    filter.select();
  }
  if (event.key === "Escape") for (const open of document.querySelectorAll("details.who[open]")) open.open = false;
}

/** Without leaving the route, which is in the fragment. */
function skip(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

// ---- the beginning ----------------------------------------------------------------------------------------------

showTheme();
try {
  state.note = await begin();
  Object.assign(page, { redraw: draw, refresh });
  document.addEventListener("keydown", pressed);
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(state.timer) : refresh()));
  document.querySelector(".skip").addEventListener("click", skip);
  document.getElementById("drawer").addEventListener("close", leaveDrawer);
  window.addEventListener("hashchange", route);
  window.addEventListener("popstate", () => history.state?.asked || document.getElementById("ask").close());
  // A dialog that was open before the page was loaded anew is not.
  if (history.state?.asked) history.replaceState(null, "");
  onOthers(() => {
    if (!isSignedIn()) Object.assign(page, { me: null, over: false });
    refresh();
  });
  setInterval(everySecond, 1000);
  route();
} catch (failure) {
  render(document.getElementById("main"), welcome({ failure, note: failure.message }));
}
