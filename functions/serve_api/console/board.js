/** The live board: every environment with the bar of its life. */

import { h, memo } from "./dom.js";
import { ago, count, isLate, moment, usd } from "./format.js";
import { life } from "./life.js";
import { address, keep, mayChangeAny, now, page } from "./page.js";
import { get } from "./session.js";
import { chip, code, empty, reach } from "./talk.js";

const HOUR = 3_600_000;
const PROOF = "image-proof"; // the application whose environments prove images
const STAGES = {
  "": "every stage that lives",
  verdict: "awaiting a person's verdict",
  late: "past their deadline",
  ended: "ended lately",
};
const ORDERS = {
  release: "by release, newest first",
  deadline: "by deadline, soonest first",
  cost: "by cost, highest first",
};
const EVERY = { all: 5_000, page: 15_000 }; // how often all are looked at, or each page of those that are shown
const HEADS_LAST = 60_000; // where there are pages of environments, their releases are looked at as often as this
const UNSAID = { text: "", application: "", stage: "", order: "release", days: "1" };
const wanted = { ...UNSAID };
const pages = { paged: false, totals: null, asked: "", shown: 1, next: null, heads: null, headsAt: 0, typed: 0 };

export const board = {
  title: "Live board",
  every: () => (pages.paged ? EVERY.page * pages.shown : EVERY.all), // who shows more pages reads no more an hour
  filter: (said) => Object.assign(wanted, UNSAID, said),
  async load() {
    const ended = wanted.stage === "ended";
    const [found, releases] = await Promise.all([environments(ended), heads()]);
    return { ...found, ended, releases };
  },
  draw(data) {
    const all = data.environments;
    const shown = all.filter(fits);
    return [
      summary(all, data.ended),
      ...(data.low ?? []).map((each) =>
        h("p", { key: each.reason, class: "note" }, `Room is running low: ${each.reason} (${each.percent} %)`),
      ),
      filters(all, data.releases, shown.length),
      shown.length
        ? h("div", { key: "lives", class: "lives" }, arranged(shown, data.releases))
        : nothing(all, data.releases),
      pages.next && h("button", { key: "more", type: "button", class: "more", onclick: more }, "Show more"),
    ];
  },
};

// ---- pages: where more environments live than one answer has, the API filters, and sums have the figures -----

/** What the API is asked for: all, or, where that is more than a page, what fits the filters. */
function question(ended) {
  const asked = ended ? { live: "false", days: wanted.days } : { live: "true" };
  if (!pages.paged) return new URLSearchParams(asked).toString();
  const special = wanted.stage in STAGES;
  const filtered = {
    application: wanted.application,
    text: wanted.text,
    stage: special ? "" : wanted.stage,
    only: special && !ended ? wanted.stage : "",
  };
  return new URLSearchParams({
    ...asked,
    ...Object.fromEntries(Object.entries(filtered).filter(([, value]) => value)),
  }).toString();
}

/** As many pages as are shown. */
async function environments(ended) {
  const found = await answer(ended);
  if (pages.asked !== question(ended)) Object.assign(pages, { asked: question(ended), shown: 1 });
  const all = [...found.environments];
  let { next } = found;
  for (let n = 1; n < pages.shown && next; n += 1) {
    const more = await get(`environments?${pages.asked}&after=${encodeURIComponent(next)}`);
    all.push(...more.environments);
    next = more.next;
  }
  pages.next = next ?? null;
  return { ...found, environments: all };
}

/** The first page: of all, or where that is not all, of what fits. */
async function answer(ended) {
  const asked = question(ended);
  const found = await get(`environments?${asked}`);
  if (found.totals) pages.totals = found.totals;
  if (found.next) pages.paged = true;
  else if (!ended && !isFiltered()) pages.paged = false;
  return asked === question(ended) ? found : get(`environments?${question(ended)}`);
}

const isFiltered = () => Boolean(wanted.application || wanted.text || wanted.stage);

function more() {
  pages.shown += 1;
  page.refresh();
}

/** The latest releases: the heads above their environments. */
async function heads() {
  if (!pages.paged || !pages.heads || Date.now() - pages.headsAt > HEADS_LAST) {
    pages.heads = (await get("releases?days=3")).releases;
    pages.headsAt = Date.now();
  }
  return pages.heads;
}

function fits(one) {
  if (wanted.application && one.application !== wanted.application) return false;
  if (!isAtStage(one)) return false;
  const named = [one.id, one.application, one.version, one.suite, one.stage, one.owner, one.account, one.region];
  const text = [...named, one.image, one.channel].join(" ").toLowerCase();
  return wanted.text
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

function isAtStage(one) {
  switch (wanted.stage) {
    case "":
    case "ended":
      return true;
    case "late":
      return isLate(one, now());
    case "verdict":
      return awaitsPerson(one);
    default:
      return one.stage === wanted.stage;
  }
}

const awaitsPerson = (one) => one.results.length > 0;
const sum = (all, of) => all.reduce((total, one) => total + (of(one) ?? 0), 0);

/** What can be filtered by: the stages that there are, and what is asked for most. */
function stages(all) {
  const summed = Object.keys(pages.totals?.stages ?? {});
  const found = new Set([...all.map((one) => one.stage), ...summed, wanted.stage].filter((stage) => !(stage in STAGES)));
  return [...Object.entries(STAGES), ...[...found].sort().map((stage) => [stage, stage])];
}

// ---- the sum of it ------------------------------------------------------------------------------------------------

function summary(all, ended) {
  const sums = !ended && pages.paged ? pages.totals : null;
  const late = sums?.late ?? all.filter((one) => isLate(one, now())).length;
  const figure = (value, text, filter, tone = "") =>
    h(
      "button",
      {
        type: "button",
        key: text,
        class: `figure ${tone}`,
        "aria-pressed": `${wanted.stage === filter}`,
        onclick: () => choose({ stage: wanted.stage === filter ? "" : filter }),
      },
      h("strong", {}, value),
      h("span", {}, text),
    );
  const plain = (value, text) => h("div", { key: text, class: "figure" }, h("strong", {}, value), h("span", {}, text));
  const verdicts = sums?.verdicts ?? all.filter(awaitsPerson).length;
  const number = (value) => value.toLocaleString("en") + (pages.next && !sums ? "+" : "");
  return h(
    "section",
    { key: "summary", class: "summary", "aria-label": "Sum" },
    plain(number(sums?.environments ?? all.length), ended ? "ended" : "alive"),
    plain(number(sums?.instances ?? sum(all, (one) => one.instance_count)), "instances"),
    plain(
      ended ? usd(sum(all, (one) => one.usd)) : usd(sums?.usd_per_hour ?? sum(all, (one) => one.usd_per_hour)),
      ended ? "cost in all" : "an hour",
    ),
    !ended && figure(verdicts, "await a verdict", "verdict", verdicts ? "warn" : ""),
    !ended && figure(late, "past deadline", "late", late ? "bad" : "good"),
    !ended && horizon(sums?.deadlines ?? deadlines(all)),
  );
}

/** How many deadlines are in each of the next 24 hours. */
function deadlines(all) {
  const hours = Array(24).fill(0);
  for (const one of all) {
    const hour = Math.floor((moment(one.deadline) - now()) / HOUR);
    if (hour >= 0 && hour < 24) hours[hour] += 1;
  }
  return hours;
}

/** When they end. */
function horizon(hours) {
  const most = Math.max(1, ...hours);
  const told = `Deadlines in the next 24 hours: ${sum(hours, (n) => n)}, at most ${Math.max(...hours)} in one hour`;
  return h(
    "figure",
    { key: "horizon", class: "horizon" },
    h(
      "svg",
      { viewBox: "0 0 240 40", preserveAspectRatio: "none", role: "img", "aria-label": told },
      hours.map((n, hour) =>
        h("rect", {
          x: hour * 10 + 1,
          width: 8,
          y: 40 - (n ? Math.max(3, (n / most) * 40) : 1),
          height: n ? Math.max(3, (n / most) * 40) : 1,
          rx: 1,
          class: `h${Math.floor(hour / 6)}`,
        }),
      ),
    ),
    h("figcaption", {}, h("span", {}, "now"), h("span", {}, "deadlines"), h("span", {}, "+24 h")),
  );
}

// ---- filters ------------------------------------------------------------------------------------------------------

function choose(some) {
  const ended = "stage" in some && (some.stage === "ended") !== (wanted.stage === "ended");
  const reload = "days" in some || ended || pages.paged;
  Object.assign(wanted, some);
  keep(wanted, UNSAID);
  page.redraw();
  clearTimeout(pages.typed);
  if (reload) pages.typed = setTimeout(page.refresh, "text" in some && some.text ? 300 : 0);
}

function filters(all, releases, shown) {
  const named = [...all, ...releases].map((one) => one.application);
  const applications = [...new Set([...named, ...(pages.totals?.applications ?? [])])].sort();
  const select = (name, label, options) =>
    h(
      "label",
      { class: "pick" },
      h("span", { class: "unseen" }, label),
      h(
        "select",
        { value: wanted[name], onchange: (event) => choose({ [name]: event.target.value }) },
        options.map(([value, text]) => h("option", { key: value, value }, text)),
      ),
    );
  return h(
    "form",
    { key: "filters", class: "filters", role: "search", onsubmit: (event) => event.preventDefault() },
    h("input", {
      type: "search",
      "aria-label": "Filter environments",
      placeholder: "Filter: application, version, suite, image, owner…",
      value: wanted.text,
      oninput: (event) => choose({ text: event.target.value }),
      onkeydown: (event) => {
        if (event.key === "Escape") choose({ text: "" });
      },
    }),
    select("application", "Application", [["", "all applications"], ...applications.map((one) => [one, one])]),
    select("stage", "Stage", stages(all)),
    wanted.stage === "ended" && reach(wanted.days, (days) => choose({ days })),
    select("order", "Order", Object.entries(ORDERS)),
    h("output", { class: "shown" }, shown === all.length ? "" : `${shown} of ${all.length}`),
  );
}

function nothing(all, releases) {
  if (all.length)
    return empty(
      "Nothing fits",
      "No environment fits what you filter by.",
      h(
        "button",
        { type: "button", onclick: () => choose({ text: "", application: "", stage: "" }) },
        "Clear the filter",
      ),
    );
  if (wanted.stage === "ended")
    return empty("Nothing has ended in this time", "Look further back, up to as long as records are kept.");
  const last = releases[0];
  return empty(
    "Nothing lives right now",
    last
      ? `The last release was ${last.application} ${last.version}. Deploy a version, and its environments come here.`
      : "Deploy a version, and its environments come here.",
    mayChangeAny() && h("a", { class: "button primary", href: "#/deploy" }, "Deploy a version"),
  );
}

// ---- rows ---------------------------------------------------------------------------------------------------------

function arranged(shown, releases) {
  if (wanted.order !== "release") {
    const of = wanted.order === "cost" ? (one) => -(one.usd ?? 0) : (one) => moment(one.deadline);
    return h("ol", { key: wanted.order, class: "rows" }, shown.toSorted((a, b) => of(a) - of(b)).map(row));
  }
  const groups = Map.groupBy(shown, (one) => one.release ?? "");
  const known = new Map(releases.map((one) => [one.id, one]));
  const newest = (group) => Math.max(...group.map((one) => moment(one.planned_at)));
  return [...groups]
    .toSorted(([, a], [, b]) => newest(b) - newest(a))
    .map(([id, group]) =>
      h(
        "section",
        { key: id, class: "release", "aria-label": `Release ${id}` },
        head(id, group, known.get(id)),
        h("ol", { class: "rows" }, group.toSorted((a, b) => a.suite.localeCompare(b.suite)).map(row)),
      ),
    );
}

function head(id, [first, ...others], release) {
  const facts = JSON.stringify([
    release?.stage,
    release?.suites,
    release?.usd,
    release && ago(release.pushed_at, now()),
    1 + others.length,
  ]);
  return memo("head", facts, () =>
    h(
      "header",
      {},
      h(
        "h2",
        {},
        h(
          "a",
          { href: first.application === PROOF ? "#/images" : address("releases", id) },
          h("span", {}, first.application),
          " ",
          h("span", { class: "version" }, first.version),
        ),
      ),
      release?.attempt > 1 && h("span", { class: "aside" }, `attempt ${release.attempt}`),
      release && chip(release),
      release &&
        h(
          "span",
          { class: "outcomes" },
          release.suites.map((one) =>
            h(
              "span",
              {
                key: one.suite,
                class: `dot ${one.tone ?? ""}`,
                title: `${one.suite}: ${one.outcome ?? "no result yet"}`,
              },
              h("span", { class: "unseen" }, `${one.suite} ${one.outcome ?? "open"} `),
            ),
          ),
        ),
      h(
        "span",
        { class: "aside" },
        release
          ? [
              release.commit && code(release.commit, release.commit.slice(0, 7)),
              ` pushed ${ago(release.pushed_at, now())}`,
              release.pushed_by && ` by ${release.pushed_by}`,
            ]
          : `of ${first.owner}`,
      ),
      release && h("span", { class: "cost" }, usd(release.usd)),
    ),
  );
}

/** An environment's row, made anew when something that it shows has changed: its cost does in every answer. */
const row = (one) => memo(one.id, JSON.stringify({ ...one, usd: usd(one.usd) }), () => lifeOf(one));

/** Where it stands in the queue, and about how long it waits. */
function waits(queue) {
  const about = queue.about_minutes === null ? "" : `, about ${count(queue.about_minutes, "minute")}`;
  return `number ${queue.position} in the queue${about}`;
}

function lifeOf(one) {
  const built = one.instances_built ?? (one.ready ? one.instance_count : 0);
  return h(
    "li",
    { class: "row" },
    h(
      "a",
      { class: "name", href: address("environments", one.id), title: one.id },
      h("span", { class: "suite" }, one.suite),
      one.manual && h("span", { class: "aside" }, " manual"),
      h("small", {}, wanted.order === "release" ? one.region : `${one.application} ${one.version}`),
    ),
    h(
      "span",
      { class: "stage" },
      chip(one.ended_at && one.ending ? one.ending : one),
      one.queue && h("small", { title: one.queue.lacks }, waits(one.queue)),
    ),
    life(one, now()),
    h(
      "span",
      { class: "instances", title: `${built} of ${count(one.instance_count, "instance")} built` },
      h("b", {}, built === one.instance_count ? built : `${built}/${one.instance_count}`),
      h("small", {}, one.instance_type),
    ),
    h("span", { class: "image" }, code(one.image), h("small", {}, one.channel)),
    h(
      "span",
      { class: "cost" },
      h("b", {}, usd(one.usd)),
      h("small", {}, one.ended_at ? "" : `${usd(one.usd_per_hour)}/h`),
    ),
  );
}
