/** Who is signed in (OpenID Connect, code flow with PKCE), and calls to the API in their name. */

import { page } from "./page.js";

const HOME = new URL(".", document.baseURI);
const EARLY = 60_000; // renewed this long before the end
const kept = {
  get: (name) => JSON.parse(sessionStorage.getItem(`mayfly.${name}`) ?? "null"),
  put: (name, value) => sessionStorage.setItem(`mayfly.${name}`, JSON.stringify(value)),
  drop: (name) => sessionStorage.removeItem(`mayfly.${name}`),
};

/** The other tabs of this browser: one sign-in is for all of them. Nothing is kept when the last one is closed. */
const others = new BroadcastChannel("mayfly");
others.onmessage = ({ data }) => {
  if (data.wanted && stillGood()) others.postMessage({ tokens: kept.get("tokens") });
  if (!("tokens" in data)) return;
  if (data.tokens) kept.put("tokens", data.tokens);
  else kept.drop("tokens");
  heard();
};
const ASKED = 200; // milliseconds in which another tab answers
let heard = () => {};

/** Has a function called when another tab has signed in or out. */
export const onOthers = (told) => {
  heard = told;
};

/** What the API answers other than with success. `status` is 0 where it gave no answer at all. */
export class Failure extends Error {
  constructor(status, body) {
    super(body?.error ?? body?.message ?? (status ? `The API answered ${status}.` : "The API cannot be reached."));
    this.status = status;
    this.fields = body?.fields ?? [];
  }
}

let config;
let endpoints; // of the issuer: authorize, token, logout, revoke
let renewal = null;

/** Reads the installation's settings, and finishes a sign-in that comes back. A text says why it did not work out. */
export async function begin() {
  const answer = await fetch(new URL("config.json", HOME)).catch(() => null);
  if (!answer?.ok) throw new Failure(answer?.status ?? 0, null);
  config = await answer.json();
  endpoints = config.sign_in ? ofCognito(config.sign_in.replace(/\/$/, "")) : await discovered(config.issuer);
  const given = new URLSearchParams(location.search);
  if (given.has("again")) history.replaceState(null, "", `${HOME.pathname}${location.hash}`);
  if (!given.has("code") && !given.has("error")) {
    if (!isSignedIn()) await tokensOfOthers();
    // Opened by a tab whose sign-in is over: there is nothing else to do here.
    if (given.has("again") && !isSignedIn()) await signIn();
    return null;
  }
  const asked = kept.get("asked");
  kept.drop("asked");
  history.replaceState(null, "", `${HOME.pathname}${asked?.hash ?? ""}`);
  if (given.has("error")) return given.get("error_description") ?? given.get("error");
  if (!asked || asked.state !== given.get("state"))
    return "That answer was not to a sign-in of this tab. Please sign in again.";
  const facts = { grant_type: "authorization_code", code: given.get("code"), redirect_uri: HOME.href };
  const done = await take({ ...facts, code_verifier: asked.verifier });
  if (done) others.postMessage({ tokens: done });
  return done ? null : "The sign-in was not accepted. Please sign in again.";
}

function tokensOfOthers() {
  return new Promise((done) => {
    heard = done;
    setTimeout(done, ASKED);
    others.postMessage({ wanted: true });
  });
}

const ofCognito = (base) => ({
  authorize: `${base}/oauth2/authorize`,
  token: `${base}/oauth2/token`,
  logout: `${base}/logout`,
  revoke: `${base}/oauth2/revoke`,
});

/** The endpoints that any other issuer publishes. */
async function discovered(issuer) {
  const answer = await fetch(`${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`).catch(() => null);
  if (!answer?.ok)
    throw new Failure(answer?.status ?? 0, { error: `The sign-in service ${issuer} cannot be reached.` });
  const said = await answer.json();
  return {
    authorize: said.authorization_endpoint,
    token: said.token_endpoint,
    logout: said.end_session_endpoint,
    revoke: said.revocation_endpoint,
  };
}

/** The installation's version. */
export const version = () => config?.version ?? "";

export const isSignedIn = () => kept.get("tokens") !== null;

/** Leaves for the sign-in page; comes back to where one is now. */
export async function signIn() {
  const [verifier, state] = [random(), random()];
  kept.put("asked", { verifier, state, hash: location.hash });
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  const facts = { client_id: config.client_id, redirect_uri: HOME.href, response_type: "code", scope: scopes(), state };
  leave(endpoints.authorize, { ...facts, code_challenge: base64url(digest), code_challenge_method: "S256" });
}

/** Signs in anew without leaving this page: what was typed here stays, and is sent when the other tab has signed in. */
export const signInElsewhere = () => window.open(new URL("?again", HOME), "_blank");

/** Forgets the tokens here and in the other tabs, has what renews them revoked, and ends the session at the sign-in page. */
export async function signOut() {
  const renewing = kept.get("tokens")?.renewing;
  kept.drop("tokens");
  others.postMessage({ tokens: null });
  if (renewing && endpoints.revoke) {
    const body = new URLSearchParams({ token: renewing, token_type_hint: "refresh_token", client_id: config.client_id });
    await fetch(endpoints.revoke, { method: "POST", body, keepalive: true }).catch(() => null);
  }
  if (!endpoints.logout) location.reload();
  else
    leave(endpoints.logout, {
      client_id: config.client_id,
      logout_uri: HOME.href,
      post_logout_redirect_uri: HOME.href,
    });
}

/** Calls the API and returns what it answers.

    Throws a Failure; one with status 401 means that the sign-in is over, and has been forgotten. */
export async function call(method, path, body) {
  let tokens = kept.get("tokens");
  if (tokens && tokens.until - EARLY < Date.now()) tokens = await renew(tokens);
  let answer = await ask(method, path, body, tokens);
  if (answer.status === 401 && tokens?.renewing) {
    tokens = await renew(tokens);
    if (tokens) answer = await ask(method, path, body, tokens);
  }
  const said = await answer.json().catch(() => null);
  if (answer.ok) return said;
  if (answer.status === 401) {
    kept.drop("tokens");
    page.over = page.me !== null;
  }
  throw new Failure(answer.status, said);
}

export const get = (path) => call("GET", path);

/** A file of the console that is data. */
export async function file(name) {
  const answer = await fetch(new URL(name, HOME)).catch(() => null);
  if (!answer?.ok) throw new Failure(answer?.status ?? 0, null);
  return answer.json();
}

function ask(method, path, body, tokens) {
  const headers = { Authorization: `Bearer ${tokens?.token ?? ""}` };
  if (body) headers["Content-Type"] = "application/json";
  const request = { method, headers, body: body && JSON.stringify(body), signal: AbortSignal.timeout(20_000) };
  return fetch(new URL(`api/${path}`, HOME), request).catch(() => {
    throw new Failure(0, null);
  });
}

/** Tokens in place of these, once for all who ask; null where there is no renewal token or it is over. */
function renew(old) {
  const now = kept.get("tokens");
  if (now && now.token !== old.token) return Promise.resolve(now); // renewed while this one's answer was on its way
  const renewing = now?.renewing;
  if (!renewing) return Promise.resolve(stillGood());
  renewal ??= take({ grant_type: "refresh_token", refresh_token: renewing }).finally(() => (renewal = null));
  return renewal;
}

function stillGood() {
  const tokens = kept.get("tokens");
  return tokens && (tokens.renewing || tokens.until > Date.now()) ? tokens : null;
}

async function take(facts) {
  const body = new URLSearchParams({ client_id: config.client_id, ...facts });
  const answer = await fetch(endpoints.token, { method: "POST", body }).catch(() => null);
  if (!answer?.ok) return answer ? null : stillGood();
  const said = await answer.json();
  const renewing = said.refresh_token ?? facts.refresh_token;
  const until = Date.now() + (said.expires_in ?? 3600) * 1000;
  const tokens = { token: said[config.token ?? "access_token"], renewing, until };
  kept.put("tokens", tokens);
  return tokens;
}

const scopes = () => (Array.isArray(config.scopes) ? config.scopes.join(" ") : config.scopes) || "openid";
const leave = (address, facts) => location.assign(`${address}?${new URLSearchParams(facts)}`);
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));
const base64url = (bytes) =>
  btoa(String.fromCharCode(...new Uint8Array(bytes)))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
