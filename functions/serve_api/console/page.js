/** What every view knows: who looks, the API's time, what one may do. */

export const page = {
  me: null,
  killSwitch: null,
  offset: 0, // of the API's clock to this one's, in milliseconds
  redraw: () => {},
  refresh: () => {},
};

/** The API's time, which is the environments' time, in milliseconds since 1970. */
export const now = () => Date.now() + page.offset;

export const isOperator = () => page.me?.role === "operator";

/** Whether one may change releases and environments of this application. */
export const mayChange = (application) =>
  isOperator() || (page.me?.role === "developer" && page.me.applications.includes(application));

/** Whether one may change those of any. */
export const mayChangeAny = () => isOperator() || page.me?.role === "developer";

/** The address of a view's page, each part escaped. */
export const address = (...parts) => `#/${parts.map(encodeURIComponent).join("/")}`;
