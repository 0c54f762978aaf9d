/** One instance of an environment: what it prints on its console. */

import { h } from "./dom.js";
import { address } from "./page.js";
import { get } from "./session.js";
import { code, facts, printed } from "./talk.js";

const MINUTE = 60_000;

/** Its address says whose it is: `environment/instance`. */
export const instancePage = {
  title: (id) => `Console of ${id.split("/").at(-1)}`,
  load: (id) => {
    const [environment, instance] = id.split("/").map(encodeURIComponent);
    return get(`environments/${environment}/instances/${instance}/console`);
  },
  every: () => MINUTE,
  draw(one) {
    return [
      facts([
        ["Environment", h("a", { href: address("environments", one.environment) }, one.environment)],
        ["Instance", code(one.instance)],
      ]),
      printed("What it has printed", one.output || "EC2 has nothing yet: it comes minutes after the boot."),
    ];
  },
};
