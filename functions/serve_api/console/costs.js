/** What environments have cost, at list prices. */

import { h } from "./dom.js";
import { count, usd } from "./format.js";
import { keep, page } from "./page.js";
import { get } from "./session.js";
import { empty, reach } from "./talk.js";

const UNSAID = { days: "7" };
const wanted = { ...UNSAID };

export const costs = {
  title: "Costs",
  every: () => 60_000,
  filter: (said) => Object.assign(wanted, UNSAID, said),
  load: () => get(`costs?days=${encodeURIComponent(wanted.days)}`),
  draw(data) {
    const { days } = wanted;
    const most = Math.max(0.01, ...data.applications.map((one) => one.usd ?? 0));
    const sorted = data.applications.toSorted((a, b) => (b.usd ?? 0) - (a.usd ?? 0));
    const hours = sorted.reduce((sum, one) => sum + (one.instance_hours ?? 0), 0);
    const figure = (value, text) =>
      h("div", { key: text, class: "figure" }, h("strong", {}, value), h("span", {}, text));
    return [
      h(
        "section",
        { key: "sum", class: "summary", "aria-label": "Sum" },
        figure(usd(data.total_usd), `in the last ${days === "1" ? "day" : `${days} days`}`),
        figure(usd(data.usd_per_hour), "an hour, now"),
        figure(Math.round(hours).toLocaleString("en"), "instance hours"),
        reach(days, choose),
      ),
      sorted.length
        ? h(
            "ol",
            { key: "all", class: "costs" },
            sorted.map((one) => application(one, most)),
          )
        : empty("Nothing has cost anything", "No environment lived in this time."),
      h(
        "p",
        { key: "prices", class: "note" },
        `List prices in ${data.prices.currency} as of ${data.prices.as_of}, from `,
        source(data.prices.source),
        ". Instances and volumes only; without discounts, traffic and load balancers.",
      ),
      data.permanent_instances > 0 &&
        h(
          "p",
          { key: "permanent", class: "note" },
          `Not in the sums: the ${count(data.permanent_instances, "instance")} of permanent environments.`,
        ),
      data.unpriced > 0 &&
        h(
          "p",
          { key: "unpriced", class: "problem" },
          `Not in the sums: ${count(data.unpriced, "environment")} of types without a known price.`,
        ),
    ];
  },
};

const source = (text) =>
  /^https:\/\//.test(text)
    ? h("a", { href: text, rel: "noopener noreferrer", target: "_blank" }, new URL(text).host)
    : text;

function choose(days) {
  Object.assign(wanted, { days });
  keep(wanted, UNSAID);
  page.refresh();
}

function application(one, most) {
  const suites = (one.suites ?? []).toSorted((a, b) => (b.usd ?? 0) - (a.usd ?? 0));
  const bar = (amount) =>
    h(
      "span",
      { class: "meter", "aria-hidden": "true", style: { "--share": (((amount ?? 0) / most) * 100).toFixed(1) } },
      h("span", {}),
    );
  return h(
    "li",
    { key: one.application },
    h(
      "details",
      {},
      h(
        "summary",
        {},
        h("span", { class: "name" }, one.application),
        bar(one.usd),
        h("b", {}, usd(one.usd)),
        h("small", {}, one.usd_per_hour ? `${usd(one.usd_per_hour)}/h now` : "nothing runs"),
      ),
      h(
        "ul",
        {},
        suites.map((suite) =>
          h(
            "li",
            { key: suite.suite },
            h("span", { class: "name" }, suite.suite),
            bar(suite.usd),
            h("b", {}, usd(suite.usd)),
            h("small", {}, ""),
          ),
        ),
      ),
    ),
  );
}
