// The desk from the keyboard. What a person decides shows at once; where the service says no, it is put back.

import { json, part, post, remove } from "./api.js";

const queue = document.getElementById("queue");
const detail = document.getElementById("detail");
const preview = document.getElementById("preview");
const help = document.getElementById("help");
const escalate = document.getElementById("escalate");
const details = new Map();
const decided = JSON.parse(sessionStorage.getItem("decided") ?? "[]");
const counting = [...preview.childNodes];
let selected = null;
let showing = 0;
let previewed = null;
let previewing = 0;
let escalating = null;

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
  const moved = item === selected ? select(next) : null;
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

/** What the person says of the selected item; null while its details are on their way. */
function word() {
  const { picked, transaction } = article()?.dataset ?? {};
  if (!picked || transaction !== selected?.dataset.transaction) return null;
  const note = detail.querySelector("#note").value.trim() || null;
  return { item: selected, transaction, category: picked, note };
}

async function decide(said, scope, expects) {
  if (!said) return;
  const { item, transaction, category, note } = said;
  const decision = { transaction_id: transaction, category, scope, note, expects };
  const answer = await take(item, () => post("/v1/reviews/decisions", decision));
  if (!answer) return;
  remember(answer.decision);
  say(`${category.replaceAll("_", " ")}: ${answer.rows} ${answer.rows === 1 ? "row" : "rows"} decided. Undo with u.`);
}

/** The dialog is open while rows are counted, so that what it shows is about the word that it was opened with. */
function openPreview() {
  previewed = word();
  if (!previewed) return;
  preview.showModal();
  reach("merchant", "button.main");
}

/** Shows what the word does when it reaches this far, and puts the focus on a part of the dialog. */
async function reach(scope, focus) {
  const { transaction, category } = previewed;
  const turn = ++previewing;
  try {
    const shown = await part(`/review/preview?${new URLSearchParams({ transaction, category, scope })}`);
    if (turn !== previewing) return;
    preview.replaceChildren(shown);
    preview.querySelector(focus).focus();
  } catch (error) {
    if (turn !== previewing) return;
    preview.close();
    complain(error);
  }
}

preview.addEventListener("change", (event) => {
  if (event.target.name !== "scope") return;
  preview.querySelector("button.main").disabled = true;
  reach(event.target.value, "[name=scope]:checked");
});
preview.addEventListener("close", () => {
  previewing += 1;
  const form = preview.querySelector("form");
  if (preview.returnValue === "apply") decide(previewed, form.dataset.scope, Number(form.dataset.rows));
  preview.returnValue = "";
  preview.replaceChildren(...counting);
});

/** Asks what makes the selected item hard; the answer is about that item, whatever is selected by then. */
function openEscalate() {
  if (!selected) return;
  escalating = selected;
  escalate.showModal();
}

escalate.addEventListener("close", async () => {
  const field = document.getElementById("escalate-note");
  const note = field.value.trim();
  const said = escalate.returnValue === "escalate";
  escalate.returnValue = "";
  if (!said || !note) return;
  field.value = "";
  const { group } = escalating.dataset;
  const done = await take(escalating, async () => {
    await post("/v1/reviews/escalations", { group, note });
    return true;
  });
  if (done) say("Escalated.");
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
    accept: () => decide(word(), "transaction"),
    group: openPreview,
    skip,
    escalate: openEscalate,
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
  if (event.key === "Enter" && event.target.closest("a, button, summary") && !queue.contains(event.target)) return;
  const keys = {
    j: () => move(1),
    k: () => move(-1),
    Enter: () => decide(word(), "transaction"),
    a: openPreview,
    s: skip,
    e: openEscalate,
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
    place.textContent = rows.toLocaleString("en");
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
