/** Who is signed in (OpenID Connect, code flow with PKCE), and calls to the API in their name. */

const HOME = new URL(".", document.baseURI);
const EARLY = 60_000; // renewed this long before the end
const kept = {
  get: (name) => JSON.parse(sessionStorage.getItem(`mayfly.${name}`) ?? "null"),
  put: (name, value) => sessionStorage.setItem(`mayfly.${name}`, JSON.stringify(value)),
  drop: (name) => sessionStorage.removeItem(`mayfly.${name}`),
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
let endpoints; // of the issuer: authorize, token, logout
let renewal = null;

/** Reads the installation's settings, and finishes a sign-in that comes back. A text says why it did not work out. */
export async function begin() {
  const answer = await fetch(new URL("config.json", HOME)).catch(() => null);
  if (!answer?.ok) throw new Failure(answer?.status ?? 0, null);
  config = await answer.json();
  endpoints = config.sign_in ? ofCognito(config.sign_in.replace(/\/$/, "")) : await discovered(config.issuer);
  const given = new URLSearchParams(location.search);
  if (!given.has("code") && !given.has("error")) return null;
  const asked = kept.get("asked");
  kept.drop("asked");
  history.replaceState(null, "", `${HOME.pathname}${asked?.hash ?? ""}`);
  if (given.has("error")) return given.get("error_description") ?? given.get("error");
  if (!asked || asked.state !== given.get("state"))
    return "That answer was not to a sign-in of this tab. Please sign in again.";
  const facts = { grant_type: "authorization_code", code: given.get("code"), redirect_uri: HOME.href };
  const done = await take({ ...facts, code_verifier: asked.verifier });
  return done ? null : "The sign-in was not accepted. Please sign in again.";
}

const ofCognito = (base) => ({
  authorize: `${base}/oauth2/authorize`,
  token: `${base}/oauth2/token`,
  logout: `${base}/logout`,
});

/** The endpoints that any other issuer publishes. */
async function discovered(issuer) {
  const answer = await fetch(`${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`).catch(() => null);
  if (!answer?.ok)
    throw new Failure(answer?.status ?? 0, { error: `The sign-in service ${issuer} cannot be reached.` });
  const said = await answer.json();
  return { authorize: said.authorization_endpoint, token: said.token_endpoint, logout: said.end_session_endpoint };
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

/** Forgets the tokens here, and ends the session at the sign-in page. */
export function signOut() {
  kept.drop("tokens");
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
  if (tokens && tokens.until - EARLY < Date.now()) tokens = await renew();
  let answer = await ask(method, path, body, tokens);
  if (answer.status === 401 && tokens?.renewing) {
    tokens = await renew();
    if (tokens) answer = await ask(method, path, body, tokens);
  }
  const said = await answer.json().catch(() => null);
  if (answer.ok) return said;
  if (answer.status === 401) kept.drop("tokens");
  throw new Failure(answer.status, said);
}

export const get = (path) => call("GET", path);

function ask(method, path, body, tokens) {
  const headers = { Authorization: `Bearer ${tokens?.token ?? ""}` };
  if (body) headers["Content-Type"] = "application/json";
  const request = { method, headers, body: body && JSON.stringify(body), signal: AbortSignal.timeout(20_000) };
  return fetch(new URL(`api/${path}`, HOME), request).catch(() => {
    throw new Failure(0, null);
  });
}

/** New tokens for a renewal token, for all who ask at the same time; null where there is none or it is over. */
function renew() {
  const renewing = kept.get("tokens")?.renewing;
  if (!renewing) return Promise.resolve(stillGood());
  renewal ??= take({ grant_type: "refresh_token", refresh_token: renewing }).finally(() => (renewal = null));
  return renewal;
}

function stillGood() {
  const tokens = kept.get("tokens");
  return tokens && tokens.until > Date.now() ? tokens : null;
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
