/** What every view knows: who looks, the API's time, what one may do. */

export const page = {
  me: null,
  killSwitch: null,
  offset: 0, // of the API's clock to this one's, in milliseconds
  filters: "", // of the view, for when its drawer is closed
  returning: null, // a promise while the step back from a question is on its way
  over: false, // the sign-in, of somebody who was signed in
  redraw: () => {},
  refresh: () => {},
};

/** What stands behind the fragment's `?`: filters, and what a link asks for. */
export const query = () => Object.fromEntries(new URLSearchParams(location.hash.split("?")[1] ?? ""));

/** Puts filters into the address, without a step of history: those that say something. */
export function keep(filters, unsaid = {}) {
  const said = Object.entries(filters).filter(([name, value]) => value && value !== unsaid[name]);
  const path = location.hash.split("?")[0] || "#/";
  const asked = new URLSearchParams(said).toString();
  history.replaceState(history.state, "", asked ? `${path}?${asked}` : path);
  if (!document.querySelector("#drawer[open]")) page.filters = asked;
}

/** The API's time, which is the environments' time, in milliseconds since 1970. */
export const now = () => Date.now() + page.offset;

export const isOperator = () => page.me?.role === "operator";

/** Whether one may change releases and environments of this application. */
export const mayChange = (application) =>
  isOperator() || Boolean(page.me?.applications.includes(application));

/** Whether one may roll permanent environments of this application out. */
export const mayRollOut = (application) => isOperator() || Boolean(page.me?.owned.includes(application));

/** Whether one may change those of any. */
export const mayChangeAny = () => isOperator() || Boolean(page.me?.applications.length);

/** The address of a view's page, each part escaped. */
export const address = (...parts) => `#/${parts.map(encodeURIComponent).join("/")}`;
