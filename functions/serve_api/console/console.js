/** The console: its header, its routes, and what keeps it up to date. */

import { board } from "./board.js";
import { costs } from "./costs.js";
import { deploy } from "./deploy.js";
import { h, render, setText } from "./dom.js";
import { environment } from "./environment.js";
import { clock, duration, exactly } from "./format.js";
import { images } from "./images.js";
import { tick } from "./life.js";
import { isOperator, mayChangeAny, now, page } from "./page.js";
import { release } from "./release.js";
import { rollout, rollouts } from "./rollouts.js";
import { begin, call, get, isSignedIn, signIn, signOut, version } from "./session.js";
import { sweep, sweeps } from "./sweeps.js";
import { ask, button, empty, follow, icon, placeToasts, skeleton, why } from "./talk.js";

const EVERY = 5_000;
const AT_MOST = 60_000;
const VIEWS = { "": board, images, rollouts, sweeps, costs };
const DRAWERS = { environments: environment, releases: release, deploy, sweep, rollout };

const at = { view: "", drawer: null, id: "" };
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
  const [view, over] = [at.view, drawerKey()];
  const [main, drawer, killSwitch] = await everything();
  if (turn !== state.turn) return;
  if (main.value) keep(view, main.value);
  if (drawer.value) keep(over, drawer.value);
  if (killSwitch.value) page.killSwitch = killSwitch.value;
  state.failure = main.reason ?? null;
  state.drawerFailure = drawer.reason ?? null;
  state.failures = state.failure ? state.failures + 1 : 0;
  if (!state.failure) state.updated = Date.now();
  if (!isSignedIn()) state.note = "Your sign-in is over. Sign in again to go on where you were.";
  if (state.failure?.status !== 403) again();
  draw();
}

/** Loads the view, the drawer and the kill switch, each settled for itself. */
async function everything() {
  try {
    // Who looks comes first: what is loaded and offered depends on it.
    page.me ??= await get("me");
  } catch (reason) {
    return [{ reason }, {}, {}];
  }
  return Promise.allSettled([VIEWS[at.view].load(), at.drawer && DRAWERS[at.drawer].load(at.id), get("kill-switch")]);
}

function keep(key, loaded) {
  data.set(key, loaded);
  if (loaded.now) page.offset = Date.parse(loaded.now) - Date.now();
}

function again() {
  clearTimeout(state.timer);
  const [kind, key] = at.drawer ? [DRAWERS[at.drawer], drawerKey()] : [VIEWS[at.view], at.view];
  const every = (data.has(key) && kind.every?.(data.get(key))) || EVERY;
  const wait = Math.min(AT_MOST, every * 2 ** state.failures);
  state.next = Date.now() + wait;
  if (!document.hidden) state.timer = setTimeout(refresh, wait);
}

// ---- routes ---------------------------------------------------------------------------------------------------

function route() {
  const [name = "", ...rest] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  const before = `${at.view} ${drawerKey()}`;
  if (Object.hasOwn(DRAWERS, name)) Object.assign(at, { drawer: name, id: rest.join("/") });
  else Object.assign(at, { view: Object.hasOwn(VIEWS, name) ? name : "", drawer: null, id: "" });
  if (before !== `${at.view} ${drawerKey()}`) Object.assign(state, { failure: null, drawerFailure: null });
  draw();
  refresh();
}

// ---- drawing --------------------------------------------------------------------------------------------------

function draw() {
  if (!isSignedIn()) document.getElementById("ask").close();
  document.title = title();
  render(document.getElementById("top"), isSignedIn() ? header() : []);
  render(document.getElementById("main"), isSignedIn() ? content() : welcome(state));
  render(document.getElementById("foot"), isSignedIn() ? footer() : []);
  drawDrawer();
  everySecond();
}

function title() {
  const over = at.drawer && isSignedIn() ? DRAWERS[at.drawer].title(at.id) : "";
  return [over || VIEWS[at.view].title, "Mayfly"].filter(Boolean).join(" · ");
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
    stale(),
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
  const may = role === "developer" ? `developer of ${applications.join(", ")}` : role;
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
  const view = VIEWS[at.view];
  const loaded = data.get(at.view);
  if (loaded)
    return [
      h("h1", { class: "unseen", key: "title" }, view.title),
      h("div", { key: at.view, class: "view" }, view.draw(loaded)),
    ];
  if (state.failure) return h("div", { key: "failure" }, failure(state.failure, refresh));
  return h("div", { key: "loading", class: "view" }, skeleton(10));
}

/** What is said where nothing can be shown. */
function failure({ status, message }, retry) {
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
  if (!at.drawer || !isSignedIn()) {
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
      loaded && state.drawerFailure && h("p", { class: "problem", role: "alert" }, state.drawerFailure.message),
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
  if (at.drawer) location.hash = `#/${at.view}`;
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
  if (document.hidden || !isSignedIn()) return;
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
  setInterval(everySecond, 1000);
  route();
} catch (failure) {
  render(document.getElementById("main"), welcome({ failure, note: failure.message }));
}
