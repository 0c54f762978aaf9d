/** The bar of a life: a day's sky from its planning to its deadline, revealed as it is lived.

    The deadline of every bar stands at the same place; what lies right of it is the room up to the ceiling. */

import { h, setStyle, setText } from "./dom.js";
import { clock, duration, moment } from "./format.js";

const DEADLINE_AT = 84; // per cent of the bar

/** How far a life has come, in per cent of its bar. */
export function reached({ planned, deadline, ceiling, ended }, now) {
  const at = Math.min(ended || now, now);
  if (at <= deadline) return (DEADLINE_AT * Math.max(0, at - planned)) / Math.max(1, deadline - planned);
  const room = Math.max(ceiling - deadline, (deadline - planned) / 4);
  return Math.min(100, DEADLINE_AT + ((100 - DEADLINE_AT) * (at - deadline)) / room);
}

/** What is said beside the bar: how long is left, or how it ended. */
export function left(one, now) {
  if (one.ended) return `lived ${duration(one.ended - one.planned)}`;
  if (one.over)
    return now > one.deadline ? `ending, ${duration(now - one.deadline)} late` : "ending";
  return now >= one.deadline
    ? `${duration(now - one.deadline)} past its deadline`
    : `${duration(one.deadline - now)} left`;
}

/** The bar of an environment, which `tick` moves. */
export function life(environment, now) {
  const [planned, deadline, ceiling] = [environment.planned_at, environment.deadline, environment.ceiling].map(moment);
  const facts = {
    planned,
    deadline,
    ceiling: ceiling || deadline,
    ended: moment(environment.ended_at),
    over: environment.over,
  };
  const told = [`planned ${clock(environment.planned_at, now)}`, `deadline ${clock(environment.deadline, now)} UTC`];
  if (ceiling > deadline) told.push(`can be extended until ${clock(environment.ceiling, now)}`);
  return h(
    "div",
    { class: environment.ended_at ? "life ended" : environment.over ? "life ending" : "life", life: facts, ref: (node) => move(node, facts, now) },
    h(
      "div",
      { class: "sky", role: "img", "aria-label": told.join(", "), title: told.join("\n") },
      h("span", { class: "day" }, h("span", { class: "veil" })),
      ceiling > deadline && h("span", { class: "room" }),
      h("span", { class: "overdue" }),
      h("span", { class: "now" }),
    ),
    h("span", { class: "left" }),
    h(
      "span",
      { class: "until" },
      environment.ended_at ? `ended ${clock(environment.ended_at, now)}` : `until ${clock(environment.deadline, now)}`,
    ),
  );
}

/** Moves every bar of the page to this moment, and writes only where something is to be seen of it. */
export function tick(now) {
  for (const node of document.querySelectorAll(".life")) if (node.life) move(node, node.life, now);
}

function move(node, facts, now) {
  const at = reached(facts, now);
  const sky = node.firstChild;
  setStyle(sky, "--lived", ((Math.min(at, DEADLINE_AT) * 100) / DEADLINE_AT).toFixed(2));
  setStyle(sky, "--at", at.toFixed(2));
  const late = !facts.ended && now >= facts.deadline;
  if (node.classList.contains("late") !== late) node.classList.toggle("late", late);
  setText(node.querySelector(".left"), left(facts, now));
}
