/** Image families: where their channels point, how far that has got, what is baked, what can be moved. */

import { changes, compare } from "./differences.js";
import { h } from "./dom.js";
import { ago, clock, count, duration, moment } from "./format.js";
import { history } from "./environment.js";
import { address, isOperator, keep, now, page } from "./page.js";
import { call, get } from "./session.js";
import { ask, button, chip, code, empty, field, follow, reach, table, toast, why } from "./talk.js";

const UNSAID = { days: "7" };
const wanted = { ...UNSAID };

function look(days) {
  Object.assign(wanted, { days });
  keep(wanted, UNSAID);
  page.refresh();
}

export const images = {
  title: "Images",
  filter: (said) => Object.assign(wanted, UNSAID, said),
  every: ({ families }) =>
    families.some((one) => one.bakes.some((bake) => !bake.over)) ? 5_000 : 15_000,
  load: () => get(`images?days=${encodeURIComponent(wanted.days)}`),
  draw: ({ families, failures }) => [
    families.length
      ? families.map(family)
      : empty(
          "No image family yet",
          "A family is a parameter in Parameter Store; docs/applications.md tells how to write one.",
        ),
    failures.length > 0 && failed(failures),
  ],
};

/** Which instances never signalled or were lost while they were tested, those that failed most first. */
const failed = (failures) =>
  h(
    "section",
    { key: "failures", class: "family", "aria-label": "Failures of instances" },
    h("header", {}, h("h2", {}, "Instances that failed")),
    table(
      "Instances that failed",
      ["Of", "Name", "Launched", "Failed", "Rate", "Why"],
      failures.map((one) => ({
        key: `${one.of} ${one.name}`,
        cells: [
          one.of,
          code(one.name),
          one.launched,
          one.failed,
          `${((100 * one.failed) / one.launched).toFixed(3)} %`,
          Object.entries(one.causes)
            .map(([cause, times]) => `${times} ${cause}`)
            .join(", "),
        ],
      })),
    ),
  );

function family(one) {
  return h(
    "section",
    { key: one.family, class: "family", "aria-label": `Family ${one.family}` },
    h("header", {}, h("h2", {}, one.family), isOperator() && button("Bake…", () => bake(one))),
    one.problem && h("p", { class: "problem" }, `Its configuration is wrong: ${one.problem}`),
    h(
      "div",
      { class: "cards" },
      one.channels.map((channel) => card(one, channel)),
    ),
    h("div", { class: "lead" }, h("h3", {}, "Bakes"), reach(wanted.days, look)),
    one.bakes.length
      ? table(
          `Bakes of ${one.family}`,
          ["Bake", "Stage", "Image", "When", "Asked by", "Why"],
          one.bakes.map((bake) => ({
            key: bake.id,
            cells: [
              h("a", { href: address("bake", bake.id) }, code(bake.id)),
              chip(bake),
              code(bake.image),
              h("time", { datetime: bake.at }, ago(bake.at, now())),
              bake.requested_by,
              [
                bake.why,
                bake.reason && h("small", { class: bake.tone === "bad" ? "problem" : "hint" }, bake.reason),
              ],
            ],
          })),
        )
      : h("p", { class: "note" }, "None in this time. One is made every night, and by “Bake…” at once."),
    h("h3", {}, "Images"),
    one.images.length
      ? table(
          `Images of ${one.family}`,
          ["Image", "Stage", "Channels", "Region", "Made", "Bake", "Proof"],
          one.images.map((image) => ({
            key: image.image,
            cells: [
              code(image.image),
              chip(image),
              pointing(one, image),
              image.region,
              h("time", { datetime: image.created_at }, clock(image.created_at, now())),
              [image.bake && h("a", { href: address("bake", image.bake) }, code(image.bake)), madeOf(image.made_of)],
              checks(image.checks),
            ],
          })),
        )
      : h("p", { class: "note" }, "None yet: bake the first."),
  );
}

const pointing = (one, image) =>
  one.channels
    .filter((channel) => [channel.image, ...Object.values(channel.regions)].includes(image.image))
    .map((channel) => [h("b", { key: channel.name }, channel.name), " "]);

/** The beginnings of the digests of what was run on an image's builder. */
const madeOf = (parts) =>
  parts &&
  h(
    "small",
    { class: "hint" },
    Object.entries(parts)
      .filter(([name]) => name !== "base_image")
      .map(([name, digest]) => `${name} ${/^[0-9a-f]{64}$/.test(digest) ? digest.slice(0, 12) : digest}`)
      .join(", "),
  );

/** What an image was, or is to be, proven by. */
const checks = (found) =>
  found && h("span", { title: found.map((one) => one.name).join("\n") }, count(found.length, "check"));

function card(one, channel) {
  const running = Object.values(channel.instances ?? {}).reduce((sum, n) => sum + n, 0);
  const old = channel.on_old_images ?? 0;
  const share = running ? ((running - old) / running) * 100 : 0;
  return h(
    "article",
    { key: channel.name, class: "card channel" },
    h(
      "header",
      {},
      h("h3", {}, channel.name),
      h("span", { class: "aside" }, channel.version ? `move ${channel.version}` : ""),
    ),
    h("p", { class: "points" }, channel.image ? code(channel.image) : "points to nothing yet"),
    h(
      "p",
      { class: "aside" },
      channel.moved_at ? `moved ${ago(channel.moved_at, now())}` : "",
      Object.keys(channel.regions ?? {}).length > 1 && ` · ${Object.keys(channel.regions).join(", ")}`,
    ),
    h(
      "div",
      {
        class: `meter ${running ? "" : "none"}`,
        role: "img",
        "aria-label": `${running - old} of ${count(running, "instance")} run on it`,
        style: { "--share": share.toFixed(1) },
      },
      h("span", {}),
    ),
    h(
      "p",
      { class: "reach" },
      running
        ? old
          ? [
              h("b", {}, old),
              ` of ${count(running, "instance")} on older images for `,
              h("b", {}, duration(channel.hours * 3_600_000)),
            ]
          : `${count(running, "instance")}, none on an older image`
        : "nothing runs that follows it",
    ),
    isOperator() &&
      h(
        "div",
        { class: "actions" },
        button("Promote…", () => promote(one, channel)),
        button("Roll back…", () => rollBack(one, channel), {
          forbidden: channel.previous?.length ? "" : "There is no image before.",
        }),
      ),
    channel.history?.length > 0 &&
      h(
        "details",
        {},
        h("summary", {}, `${count(channel.history.length, "line")} of history`),
        history(channel.history, ""),
      ),
  );
}

const path = (one, channel, what) =>
  `channels/${encodeURIComponent(one.family)}/${encodeURIComponent(channel.name)}/${what}`;

function moved(one, channel, text) {
  const seen = ({ families }) => {
    const found = families
      .find((each) => each.family === one.family)
      ?.channels.find((each) => each.name === channel.name);
    return found && found.image !== channel.image
      ? { text: `${one.family}/${channel.name} points to ${found.image}.` }
      : null;
  };
  follow("images", text, seen);
}

function promote(one, channel) {
  // A copy in another Region has no bake of its own, and moves with its original.
  const others = one.images.filter(
    (image) => image.bake && image.image !== channel.image && image.promotable,
  );
  if (!others.length) return toast("bad", `There is no other image of ${one.family} that could be promoted.`);
  return ask({
    title: `Promote in ${one.family}/${channel.name}`,
    lead: (values) => [
      h(
        "p",
        { key: "lead" },
        `It points to ${channel.image || "nothing yet"}. `,
        "Releases that are planned from now on take the new image; what runs keeps its own.",
      ),
      channel.image && differences(channel.image, values.image ?? others[0].image),
    ],
    fields: [
      field({
        name: "image",
        label: "Image",
        kind: "select",
        value: others[0].image,
        options: others.map((image) => ({
          value: image.image,
          text: `${image.image} · ${image.stage} · ${ago(image.created_at, now())}`,
        })),
      }),
      why("What does it bring?"),
    ],
    action: "Promote",
    submit: async (values) => {
      await call("POST", path(one, channel, "promotion"), { image: values.image, why: values.why });
      moved(one, channel, `Promoting ${values.image}…`);
    },
  });
}

/** What a promotion would change: packages, services, and the files that Puppet manages. */
function differences(before, after) {
  const path = `images/${after}/since/${before}`;
  const found = compare(path, () => document.querySelector("#ask form")?.dispatchEvent(new Event("input")));
  if (!found) return h("p", { key: path, class: "note" }, "Comparing…");
  if (found.failure) return h("p", { key: path, class: "note" }, found.failure);
  const tables = changes(found);
  if (!tables.length) return h("p", { key: path, class: "note" }, `${after} consists of the same as ${before}.`);
  return h("div", { key: path, class: "differences" }, tables);
}

function rollBack(one, channel) {
  ask({
    title: `Roll ${one.family}/${channel.name} back?`,
    lead: () =>
      h(
        "p",
        {},
        `It leaves ${channel.image} and points to ${channel.previous[0].image} again. `,
        "No policy promotes the image that it leaves a second time.",
      ),
    fields: [why("What is wrong with it?")],
    action: "Roll back",
    danger: true,
    submit: async (values) => {
      await call("POST", path(one, channel, "rollback"), { image: channel.image, why: values.why });
      moved(one, channel, `Rolling ${one.family}/${channel.name} back…`);
    },
  });
}

function bake(one) {
  ask({
    title: `Bake a new image of ${one.family}`,
    lead: () =>
      h(
        "p",
        {},
        "A builder is started from the family's base image, configured with Puppet and imaged, and the image proven. ",
        "Channels move by policy or by hand.",
      ),
    fields: [why("What has changed?")],
    action: "Bake",
    submit: async (values) => {
      const before = now();
      await call("POST", "bakes", { family: one.family, why: values.why });
      const seen = ({ families }) => {
        const found = families
          .find((each) => each.family === one.family)
          ?.bakes.find((each) => moment(each.at) >= before - 60_000 && each.why === values.why);
        return found ? { text: `The bake ${found.id} is ${found.stage}.` } : null;
      };
      follow("images", `Asking for a bake of ${one.family}…`, seen);
    },
  });
}
