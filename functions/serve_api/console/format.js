/** How moments, durations, money and counts read. All pure. */

const MINUTE = 60_000;

/** Milliseconds since 1970 of an ISO 8601 moment; NaN where there is none. */
export const moment = (text) => (text ? Date.parse(text) : NaN);

/** A length of time in two units at most: `2 d 3 h`, `3 h 12 min`, `9 min`, `41 s`; seconds only below ten minutes. */
export function duration(milliseconds) {
  const seconds = Math.max(0, Math.floor(Math.abs(milliseconds) / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return `${minutes}:${String(seconds % 60).padStart(2, "0")} min`;
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return hours % 24 ? `${Math.floor(hours / 24)} d ${hours % 24} h` : `${hours / 24} d`;
}

/** How long ago: `just now`, `12 min ago`. */
export function ago(text, now) {
  const passed = now - moment(text);
  if (!Number.isFinite(passed)) return "";
  return passed < MINUTE ? "just now" : `${duration(passed - (passed % MINUTE)).replace(/:00 min/, " min")} ago`;
}

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: "UTC" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });

/** A moment in UTC: `14:05` today, `25 Nov 14:05` on any other day. */
export function clock(text, now) {
  const at = moment(text);
  if (!Number.isFinite(at)) return "";
  const time = CLOCK.format(at);
  return DAY.format(at) === DAY.format(now) ? time : `${DAY.format(at)} ${time}`;
}

/** A moment in full, for titles. */
export const exactly = (text) => (text ? `${text.slice(0, 19).replace("T", " ")} UTC` : "");

/** A text whose times have no fraction of a second. */
export const wholeSeconds = (text) => text.replace(/(\d\dT\d\d:\d\d:\d\d)\.\d+Z/g, "$1Z");

/** An amount of US dollars; `unknown` where its price is. */
export function usd(amount) {
  if (amount === null || amount === undefined) return "unknown";
  return amount >= 1000 ? `$${Math.round(amount).toLocaleString("en-US")}` : `$${amount.toFixed(2)}`;
}

/** `1 instance`, `45 instances`. */
export const count = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;

/** Whether an environment lives past its deadline. */
export const isLate = (one, now) => !one.ended_at && moment(one.deadline) <= now;
