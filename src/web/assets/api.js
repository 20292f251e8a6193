// How pages talk to the API: JSON, with the session's second secret on every change.

const meta = (name) => document.querySelector(`meta[name="${name}"]`)?.content ?? "";
const csrf = meta("csrf");

/** Who is signed in. */
export const person = meta("person");

/** What the service said no with: its words are for people. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? `the service answered ${status}`);
    this.status = status;
    this.kind = (problem.type ?? "").replace("urn:txcat:problem:", "");
  }
}

async function sent(path, request) {
  try {
    return await fetch(path, request);
  } catch {
    throw new Refused(0, { detail: "The service can't be reached. Nothing was saved; try again." });
  }
}

async function answered(response) {
  if (response.redirected && new URL(response.url).pathname === "/sign-in") {
    const from = new URLSearchParams({ next: location.pathname + location.search, ended: "true" });
    location.assign(`/sign-in?${from}`);
    throw new Refused(401, { detail: "your session has ended" });
  }
  if (response.ok) return response;
  throw new Refused(response.status, await response.json().catch(() => ({})));
}

async function change(method, path, body) {
  const response = await answered(await sent(path, {
    method,
    headers: { "content-type": "application/json", "x-csrf-token": csrf },
    body,
  }));
  return response.status === 204 ? null : response.json();
}

/** Sends a change; the answer's JSON, or null where there is none. */
export const post = (path, body) => change("POST", path, JSON.stringify(body ?? {}));

/** Takes something away. */
export const remove = (path) => change("DELETE", path);

export async function json(path) {
  return (await answered(await sent(path))).json();
}

/** A part of a page, as a fragment to put in its place. */
export async function part(path) {
  const template = document.createElement("template");
  template.innerHTML = await (await answered(await sent(path))).text();
  return template.content;
}
