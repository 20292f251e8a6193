// The desk from the keyboard. What a person decides shows at once; where the service says no, it is put back.

import { json, part, person, post } from "./api.js";
import { typedIn } from "./categories.js";
import { enter, isField, isRepeated, pressOnce } from "./keys.js";
import { complain, say } from "./said.js";
import "./views.js";

/** Keys that may be held. */
const HELD = ["j", "k", "ArrowDown", "ArrowUp"];
/** How long a row has been shown before it can be accepted, in milliseconds: who presses Enter twice means one row. */
const SETTLED = 300;

const queue = document.getElementById("queue");
const detail = document.getElementById("detail");
const empty = document.getElementById("empty");
const preview = document.getElementById("preview");
const help = document.getElementById("help");
const escalate = document.getElementById("escalate");
const hard = document.getElementById("escalate-note");
const details = new Map();
/** What was picked and typed for transactions, until it is sent. */
const drafts = new Map();
/** Where the tab keeps what this person decided. */
const trail = `decided by ${person}`;
const decided = JSON.parse(sessionStorage.getItem(trail) ?? "[]");
const counting = [...preview.childNodes];
let selected = null;
let showing = 0;
let previewed = null;
let previewing = 0;
let escalating = null;
/** Ends when everything that was decided and taken back so far has its answer. */
let answered = Promise.resolve();

const items = () => [...queue.querySelectorAll("li:not(.done)")];
const article = () => detail.querySelector("article");
const words = (slug) => slug.replaceAll("_", " ");
const many = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
/** A copy of what a template of the page holds. */
const filled = (id) => document.getElementById(id).content.cloneNode(true);

/** Does this once all before it have their answers, so that they are remembered and taken back in their order. */
function inTurn(work) {
  answered = answered.then(work).catch(complain);
  return answered;
}

/** An item's text, as far as a line holds it. */
function named(item) {
  const text = item.querySelector(".descriptor").textContent;
  return text.length > 60 ? `${text.slice(0, 59)}…` : text;
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

/** One link of the list is a step of the Tab key; j, k and arrows go through the others. */
function rove() {
  for (const link of queue.querySelectorAll("a")) link.tabIndex = selected?.contains(link) ? 0 : -1;
}

async function select(item, focus = true) {
  const turn = ++showing;
  selected?.querySelector("a").removeAttribute("aria-current");
  selected = item ?? null;
  rove();
  empty.hidden = items().length > 0;
  if (!selected) {
    detail.replaceChildren();
    if (focus) empty.focus();
    return;
  }
  const link = selected.querySelector("a");
  link.setAttribute("aria-current", "true");
  if (focus) link.focus({ preventScroll: true });
  selected.scrollIntoView({ block: "nearest" });
  detail.replaceChildren(filled("loading"));
  detail.setAttribute("aria-busy", "true");
  try {
    const found = await load(selected);
    if (turn !== showing) return;
    detail.replaceChildren(found.cloneNode(true));
    detail.scrollTop = 0;
    restore();
    settle();
    const all = items();
    const at = all.indexOf(selected);
    all.slice(at + 1, at + 3).forEach((next) => load(next).catch(() => {}));
  } catch (error) {
    if (turn !== showing) return;
    detail.replaceChildren(filled("failed"));
    detail.querySelector(".problem").textContent = error.message;
    complain(error);
  }
  detail.removeAttribute("aria-busy");
}

/** The details of the selected item; null while they are on their way. */
function shown() {
  const row = article();
  return row && row.dataset.transaction === selected?.dataset.transaction ? row : null;
}

function settle() {
  const accept = detail.querySelector("[data-act=accept]");
  accept.disabled = true;
  setTimeout(() => { accept.disabled = false; }, SETTLED);
}

function move(step) {
  const all = items();
  const at = all.indexOf(selected);
  const next = all[Math.min(Math.max(at + step, 0), all.length - 1)];
  if (next && next !== selected) select(next);
}

function draft(transaction, said) {
  drafts.set(transaction, { ...drafts.get(transaction), ...said });
}

/** Keeps what the form says. */
function keep() {
  const { transaction, picked } = article().dataset;
  const text = (id) => detail.querySelector(id).value;
  draft(transaction, { picked, category: text("#category"), note: text("#note") });
}

/** Fills in what was kept of the row that is shown. */
function restore() {
  const { picked, category, note } = drafts.get(article().dataset.transaction) ?? {};
  if (picked === undefined) return;
  detail.querySelector("#category").value = category;
  detail.querySelector("#note").value = note;
  mark(picked);
}

/** Marks a category as picked; none where it is empty. */
function mark(category) {
  article().dataset.picked = category;
  for (const choice of detail.querySelectorAll(".choice")) {
    choice.setAttribute("aria-pressed", String(choice.dataset.category === category));
  }
}

/** Picks a suggestion, which empties the field for other categories. */
function pick(category) {
  if (!shown()) return;
  const field = detail.querySelector("#category");
  field.value = "";
  typedIn(field);
  mark(category);
  keep();
}

/** Picks what is typed; whether it is a category, or nothing. */
function read(field) {
  const category = typedIn(field);
  if (category !== "" || !detail.querySelector('.choice[aria-pressed="true"]')) mark(category ?? "");
  keep();
  return category !== null;
}

/** Takes an item off the list at once; the promise's failure puts it back. */
async function take(item, work) {
  const { transaction } = item.dataset;
  const all = items();
  const next = all[all.indexOf(item) + 1] ?? all[all.indexOf(item) - 1];
  item.classList.add("done");
  if (item === selected) select(next);
  try {
    const answer = await work();
    item.remove();
    details.delete(transaction);
    drafts.delete(transaction);
    return answer;
  } catch (error) {
    item.classList.remove("done");
    details.delete(transaction);
    select(item);
    complain(error);
    return null;
  } finally {
    refresh();
  }
}

function store() {
  sessionStorage.setItem(trail, JSON.stringify(decided.slice(-100)));
}

/** Adds to what was decided in the last day. */
function pace(decisions, rows) {
  const place = document.getElementById("pace-done");
  const now = (name, more) => Math.max(0, Number(place.dataset[name]) + more);
  Object.assign(place.dataset, { decisions: now("decisions", decisions), rows: now("rows", rows) });
  place.textContent = `${many(Number(place.dataset.decisions), "decision")} on ${many(Number(place.dataset.rows), "row")}`;
}

/** What the person says of the selected item; null where nothing is picked, or its details are on their way. */
function word() {
  const row = shown();
  if (!row) return null;
  const { picked, transaction } = row.dataset;
  if (!picked) {
    complain(new Error("Pick a category first."));
    return null;
  }
  const note = detail.querySelector("#note").value.trim() || null;
  return { item: selected, transaction, category: picked, note };
}

function accept() {
  if (detail.querySelector("[data-act=accept]:enabled")) decide(word(), "transaction");
}

function decide(said, scope, expects) {
  if (!said) return;
  const { item, transaction, category, note } = said;
  const decision = { transaction_id: transaction, category, scope, note, expects };
  const taken = take(item, () => post("/v1/reviews/decisions", decision));
  inTurn(async () => {
    const answer = await taken;
    if (!answer) return;
    const { decision: id, rows } = answer;
    decided.push({ id, transaction, group: item.dataset.group, name: named(item), category, rows });
    store();
    pace(1, rows);
    say(`${words(category)}: ${many(rows, "row")} decided.`);
  });
}

/** The dialog is open while rows are counted, so that what it shows is about the word that it was opened with. */
function openPreview() {
  if (!detail.querySelector("[data-act=group]")) return;
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

pressOnce(preview);

/** Asks what makes the selected item hard; the answer is about that item, whatever is selected by then. */
function openEscalate() {
  if (!shown()) return;
  escalating = selected;
  hard.value = drafts.get(escalating.dataset.transaction)?.hard ?? "";
  document.getElementById("escalate-title").textContent = `Escalate ${named(escalating)}`;
  escalate.showModal();
}

hard.addEventListener("input", () => draft(escalating.dataset.transaction, { hard: hard.value }));
escalate.addEventListener("close", async () => {
  const note = hard.value.trim();
  const said = escalate.returnValue === "escalate";
  escalate.returnValue = "";
  if (!said || !note) return;
  const { group } = escalating.dataset;
  const done = await take(escalating, async () => {
    await post("/v1/reviews/escalations", { group, note });
    return true;
  });
  if (done) say("Escalated.");
});

async function skip() {
  const item = selected;
  if (!shown()) return;
  const done = await take(item, async () => {
    await post("/v1/reviews/skips", { group: item.dataset.group });
    return true;
  });
  if (done) say("Skipped for four hours.");
}

async function undo() {
  const last = decided.at(-1);
  if (last === undefined) {
    say("There is nothing of yours to undo.");
    return;
  }
  try {
    const undone = await post(`/v1/reviews/decisions/${last.id}/undo`);
    forget();
    pace(-1, -last.rows);
    const rows = `${many(undone.restored, "row")} ${undone.restored === 1 ? "is" : "are"} as before`;
    const kept = undone.kept ? `, ${undone.kept} were decided again since and stay` : "";
    say(`Undone: ${last.name} as ${words(last.category)}. ${rows}${kept}.`);
    details.clear();
    await refresh();
    const alike = (name) => items().find((item) => item.dataset[name] === last[name]);
    const back = alike("transaction") ?? alike("group");
    if (back && back !== selected) await select(back);
  } catch (error) {
    if (error.kind === "already-undone") forget();
    complain(error);
  }
}

/** Leaves the latest decision out of what can be taken back. */
function forget() {
  decided.pop();
  store();
}

/** The item as it stands in the list already, brought up to date, so that the focus stays on it. */
function reuse(known, item) {
  if (!known || known.dataset.group !== item.dataset.group) return item;
  known.querySelector("a").replaceChildren(...item.querySelector("a").childNodes);
  return known;
}

/** Whether the focus is nowhere, or where it is lost when another row is shown. */
function isIdle() {
  return [document.body, empty].includes(document.activeElement) || detail.contains(document.activeElement);
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
    rove();
    if (!listed.includes(selected)) await select(items()[0], isIdle());
    empty.hidden = items().length > 0;
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

const acts = {
  accept,
  group: openPreview,
  skip,
  escalate: openEscalate,
  undo: () => inTurn(undo),
  retry: () => select(selected),
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.matches(".choice")) pick(button.dataset.category);
  acts[button?.dataset.act]?.();
});

detail.addEventListener("input", keep);
detail.addEventListener("change", (event) => {
  if (event.target.id === "category") read(event.target);
});

document.getElementById("help-button").addEventListener("click", () => help.showModal());

/** Leaves a field, unless what was entered there is no category. */
function leave(event) {
  const enters = event.key === "Enter" && detail.contains(event.target);
  if (event.key !== "Escape" && !enters) return;
  event.preventDefault();
  const stays = event.target.id === "category" && !read(event.target) && enters;
  if (!stays) selected?.querySelector("a").focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (document.querySelector("dialog[open]")) return;
  if (isField(event.target)) {
    leave(event);
    return;
  }
  if (isRepeated(event, HELD)) return;
  const focused = event.target.closest("#queue li");
  if (event.key === "Enter" && !focused && event.target.closest("a, button, summary")) return;
  const keys = {
    j: () => move(1),
    k: () => move(-1),
    ArrowDown: focused && (() => move(1)),
    ArrowUp: focused && (() => move(-1)),
    Enter: () => (focused && focused !== selected ? select(focused) : accept()),
    a: openPreview,
    s: skip,
    e: openEscalate,
    u: acts.undo,
    c: () => enter(detail.querySelector("#category")),
    "/": () => enter(document.getElementById("text")),
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

await select(items()[0]);
document.body.dataset.ready = "true";
