// Labels given again, blind, from the keyboard.

import { post } from "./api.js";
import { typedIn } from "./categories.js";
import { enter, isField, isRepeated } from "./keys.js";
import { complain, say as tell } from "./said.js";

const asked = document.getElementById("asked");
let current = null;

const articles = () => [...asked.querySelectorAll("article")];
const empty = document.getElementById("empty");

function show(article) {
  const all = articles();
  current = article ?? null;
  all.forEach((other) => { other.hidden = other !== current; });
  empty.hidden = all.length > 0;
  (current ?? empty).focus({ preventScroll: true });
}

function move(step) {
  const all = articles();
  show(all[Math.min(Math.max(all.indexOf(current) + step, 0), all.length - 1)]);
}

/** Marks a category as picked; none where it is empty. */
function mark(category) {
  current.dataset.picked = category;
  for (const choice of current.querySelectorAll(".choice")) {
    choice.setAttribute("aria-pressed", String(choice.dataset.category === category));
  }
  current.querySelector("[data-act=say]").disabled = !category;
}

/** Picks a suggestion, which empties the field for other categories. */
function pick(category) {
  const field = current.querySelector("input");
  field.value = "";
  typedIn(field);
  mark(category);
}

/** Picks what is typed; whether it is a category, or nothing. */
function read(field) {
  const category = typedIn(field);
  if (category !== "" || !current.querySelector('.choice[aria-pressed="true"]')) mark(category ?? "");
  return category !== null;
}

async function say() {
  const article = current;
  const category = article?.dataset.picked;
  if (!category || article.dataset.busy) return;
  article.dataset.busy = "true";
  try {
    await post(`/v1/reviews/second-labels/${article.dataset.decision}`, { category });
    const all = articles();
    const at = all.indexOf(article);
    article.remove();
    tell(`${category.replaceAll("_", " ")}: said.`);
    if (all.length === 1) location.reload();
    else if (article === current) show(all[at + 1] ?? all[at - 1]);
  } catch (error) {
    delete article.dataset.busy;
    complain(error);
  }
}

asked.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.category) pick(button.dataset.category);
  else if (button?.dataset.act === "say") say();
});

asked.addEventListener("change", (event) => {
  if (current?.contains(event.target)) read(event.target);
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (isField(event.target)) {
    if (event.key !== "Escape" && event.key !== "Enter") return;
    event.preventDefault();
    if (read(event.target) || event.key === "Escape") current.focus();
    return;
  }
  if (isRepeated(event, ["j", "k"])) return;
  if (event.key === "Enter" && event.target.closest("button, a, header, summary")) return;
  const keys = {
    j: () => move(1),
    k: () => move(-1),
    Enter: say,
    c: () => enter(current?.querySelector("input")),
  };
  const choice = /^[1-9]$/.test(event.key) && current?.querySelectorAll(".choice")[Number(event.key) - 1];
  if (choice) pick(choice.dataset.category);
  else if (keys[event.key]) keys[event.key]();
  else return;
  event.preventDefault();
});

show(articles()[0]);
document.body.dataset.ready = "true";
