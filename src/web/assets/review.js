// The desk from the keyboard. What a person decides shows at once; where the service says no, it is put back.

import { json, part, post, remove } from "./api.js";

const queue = document.getElementById("queue");
const detail = document.getElementById("detail");
const preview = document.getElementById("preview");
const help = document.getElementById("help");
const escalate = document.getElementById("escalate");
const details = new Map();
const decided = JSON.parse(sessionStorage.getItem("decided") ?? "[]");
let selected = null;
let showing = 0;

const items = () => [...queue.querySelectorAll("li:not(.done)")];
const article = () => detail.querySelector("article");
const isField = (element) => element.matches("input, select, textarea");

function say(text) {
  show(document.getElementById("said"), text);
}

function complain(error) {
  show(document.getElementById("trouble"), error.message);
}

function show(place, text) {
  place.textContent = text;
  place.hidden = false;
  clearTimeout(place.timer);
  place.timer = setTimeout(() => { place.hidden = true; }, 8000);
}

function load(item) {
  const { transaction, group } = item.dataset;
  const known = details.get(transaction);
  if (known) return known;
  const asked = part(`/review/detail?${new URLSearchParams({ transaction, group })}`);
  details.set(transaction, asked);
  asked.catch(() => details.delete(transaction));
  return asked;
}

async function select(item, focus = true) {
  selected?.querySelector("a").removeAttribute("aria-current");
  selected = item ?? null;
  document.getElementById("empty").hidden = items().length > 0;
  if (!selected) {
    detail.replaceChildren();
    return;
  }
  const link = selected.querySelector("a");
  link.setAttribute("aria-current", "true");
  if (focus) link.focus({ preventScroll: true });
  selected.scrollIntoView({ block: "nearest" });
  const turn = ++showing;
  try {
    const found = await load(selected);
    if (turn !== showing) return;
    detail.replaceChildren(found.cloneNode(true));
    detail.scrollTop = 0;
    const all = items();
    const at = all.indexOf(selected);
    all.slice(at + 1, at + 3).forEach((next) => load(next).catch(() => {}));
  } catch (error) {
    complain(error);
  }
}

function move(step) {
  const all = items();
  const at = all.indexOf(selected);
  const next = all[Math.min(Math.max(at + step, 0), all.length - 1)];
  if (next && next !== selected) select(next);
}

function pick(category) {
  if (!article()) return;
  article().dataset.picked = category;
  for (const choice of detail.querySelectorAll(".choice")) {
    choice.setAttribute("aria-pressed", String(choice.dataset.category === category));
  }
}

/** Takes an item off the list at once; the promise's failure puts it back. */
async function take(item, work) {
  const all = items();
  const next = all[all.indexOf(item) + 1] ?? all[all.indexOf(item) - 1];
  item.classList.add("done");
  const moved = select(next);
  try {
    const answer = await work();
    item.remove();
    details.delete(item.dataset.transaction);
    await moved;
    return answer;
  } catch (error) {
    item.classList.remove("done");
    details.delete(item.dataset.transaction);
    select(item);
    complain(error);
    return null;
  } finally {
    refresh();
  }
}

function remember(decision) {
  decided.push(decision);
  sessionStorage.setItem("decided", JSON.stringify(decided.slice(-100)));
}

async function decide(scope, expects) {
  const item = selected;
  const { picked, transaction } = article()?.dataset ?? {};
  if (!item || !picked || transaction !== item.dataset.transaction) return;
  const note = detail.querySelector("#note").value.trim() || null;
  const said = { transaction_id: transaction, category: picked, scope, note, expects };
  const answer = await take(item, () => post("/v1/reviews/decisions", said));
  if (!answer) return;
  remember(answer.decision);
  say(`${picked.replaceAll("_", " ")}: ${answer.rows} ${answer.rows === 1 ? "row" : "rows"} decided. Undo with u.`);
}

async function openPreview(scope) {
  const { picked, transaction } = article()?.dataset ?? {};
  if (!picked) return;
  try {
    preview.replaceChildren(await part(`/review/preview?${new URLSearchParams({ transaction, category: picked, scope })}`));
    if (!preview.open) preview.showModal();
    preview.querySelector("button.main").focus();
  } catch (error) {
    complain(error);
  }
}

preview.addEventListener("change", (event) => {
  if (event.target.name === "scope") openPreview(event.target.value);
});
preview.addEventListener("close", () => {
  const form = preview.querySelector("form");
  if (preview.returnValue === "apply") decide(form.dataset.scope, Number(form.dataset.rows));
  preview.returnValue = "";
});

escalate.addEventListener("close", async () => {
  const note = document.getElementById("escalate-note");
  const item = selected;
  if (escalate.returnValue === "escalate" && item && note.value.trim()) {
    const done = await take(item, async () => {
      await post("/v1/reviews/escalations", { group: item.dataset.group, note: note.value.trim() });
      return true;
    });
    if (done) say("Escalated.");
    note.value = "";
  }
  escalate.returnValue = "";
});

async function skip() {
  const item = selected;
  if (!item) return;
  const done = await take(item, async () => {
    await post("/v1/reviews/skips", { group: item.dataset.group });
    return true;
  });
  if (done) say("Skipped for four hours.");
}

async function undo() {
  const last = decided.pop();
  if (last === undefined) {
    say("There is nothing of yours to undo.");
    return;
  }
  sessionStorage.setItem("decided", JSON.stringify(decided));
  try {
    const undone = await post(`/v1/reviews/decisions/${last}/undo`);
    const kept = undone.kept ? `, ${undone.kept} were decided again since and stay` : "";
    say(`Undone: ${undone.restored} ${undone.restored === 1 ? "row is" : "rows are"} as before${kept}.`);
    details.clear();
    await refresh();
    if (items().length && selected !== items()[0]) await select(items()[0]);
  } catch (error) {
    complain(error);
  }
}

/** The item as it stands in the list already, brought up to date, so that the focus stays on it. */
function reuse(known, item) {
  if (!known || known.dataset.group !== item.dataset.group) return item;
  known.querySelector("a").replaceChildren(...item.querySelector("a").childNodes);
  return known;
}

/** Brings list and counts up to date with the service; what is selected stays so. */
async function refresh() {
  try {
    const fresh = await part(`/review/list?${queue.dataset.query}`);
    const working = new Set([...queue.querySelectorAll("li.done")].map((item) => item.dataset.transaction));
    const known = new Map(items().map((item) => [item.dataset.transaction, item]));
    const listed = [...fresh.querySelectorAll("#fresh-queue > li")]
      .filter((item) => !working.has(item.dataset.transaction))
      .map((item) => reuse(known.get(item.dataset.transaction), item));
    items().filter((item) => !listed.includes(item)).forEach((item) => item.remove());
    let place = items()[0] ?? null;
    for (const item of listed) {
      if (item === place) place = place.nextElementSibling;
      else queue.insertBefore(item, place);
    }
    document.getElementById("lanes").replaceChildren(...fresh.querySelectorAll("#fresh-lanes > li"));
    if (!listed.includes(selected)) await select(items()[0], document.activeElement === document.body);
    document.getElementById("empty").hidden = items().length > 0;
  } catch (error) {
    complain(error);
  }
}

queue.addEventListener("click", (event) => {
  const item = event.target.closest("li");
  if (!item || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  select(item);
});

detail.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.category) pick(button.dataset.category);
  const acts = {
    accept: () => decide("transaction"),
    group: () => openPreview("merchant"),
    skip,
    escalate: () => escalate.showModal(),
  };
  acts[button.dataset.act]?.();
});

detail.addEventListener("change", (event) => {
  if (event.target.id !== "category") return;
  const known = [...document.querySelectorAll("#categories option")].some((option) => option.value === event.target.value);
  if (known) pick(event.target.value);
});

document.getElementById("help-button").addEventListener("click", () => help.showModal());

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (document.querySelector("dialog[open]")) return;
  const field = isField(event.target);
  if (field) {
    if (event.key === "Escape" || (event.key === "Enter" && event.target.closest("#detail"))) {
      event.preventDefault();
      event.target.dispatchEvent(new Event("change", { bubbles: true }));
      selected?.querySelector("a").focus();
    }
    return;
  }
  if (event.key === "Enter" && event.target.closest("button, header, .bar")) return;
  const keys = {
    j: () => move(1),
    k: () => move(-1),
    Enter: () => decide("transaction"),
    a: () => openPreview("merchant"),
    s: skip,
    e: () => { if (selected) escalate.showModal(); },
    u: undo,
    c: () => detail.querySelector("#category")?.focus(),
    "/": () => document.getElementById("text").focus(),
    "?": () => help.showModal(),
  };
  const choice = /^[1-9]$/.test(event.key) && detail.querySelectorAll(".choice")[Number(event.key) - 1];
  if (choice) pick(choice.dataset.category);
  else if (keys[event.key]) keys[event.key]();
  else return;
  event.preventDefault();
});

/** Shows how much waits; what is new there comes to whoever has nothing to do. */
function count(lanes) {
  for (const place of document.querySelectorAll(".count[data-lane]")) {
    const rows = lanes.find((lane) => lane.lane === place.dataset.lane)?.rows ?? 0;
    place.textContent = rows.toLocaleString("en").replaceAll(",", "\u202f");
  }
}

let polling = null;

/** Without a stream: asks again and again. */
function poll() {
  polling ??= setInterval(async () => {
    try {
      count((await json("/v1/reviews/numbers")).lanes);
    } catch {
      // The next decision tells.
    }
  }, 15000);
}

const live = new EventSource("/v1/reviews/live");
live.addEventListener("message", (event) => {
  clearInterval(polling);
  polling = null;
  count(JSON.parse(event.data).lanes);
  document.body.dataset.live = "true";
  if (items().length === 0 && !document.querySelector("dialog[open]")) refresh();
});
live.addEventListener("error", poll);
addEventListener("pagehide", () => live.close());

document.getElementById("save-view").addEventListener("submit", async (event) => {
  event.preventDefault();
  const name = document.getElementById("view-name").value.trim();
  const shared = document.getElementById("view-shared").checked;
  try {
    await post("/v1/reviews/views", { name, shared, filter: JSON.parse(event.target.dataset.filter) });
    location.reload();
  } catch (error) {
    complain(error);
  }
});

document.getElementById("views").addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-forget]");
  if (!button) return;
  try {
    await remove(`/v1/reviews/views/${button.dataset.forget}`);
    button.closest("li").remove();
  } catch (error) {
    complain(error);
  }
});

await select(items()[0]);
document.body.dataset.ready = "true";
