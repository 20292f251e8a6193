// Labels given again, blind, from the keyboard.

import { post } from "./api.js";

const asked = document.getElementById("asked");
let at = 0;

const articles = () => [...asked.querySelectorAll("article")];
const current = () => articles()[at] ?? null;
const known = (slug) => [...document.querySelectorAll("#categories option")].some((option) => option.value === slug);

function tell(place, text) {
  const box = document.getElementById(place);
  box.textContent = text;
  box.hidden = false;
  clearTimeout(box.timer);
  box.timer = setTimeout(() => { box.hidden = true; }, 8000);
}

function show(place) {
  const all = articles();
  at = Math.min(Math.max(place, 0), Math.max(all.length - 1, 0));
  all.forEach((article, index) => { article.hidden = index !== at; });
  document.getElementById("empty").hidden = all.length > 0;
  current()?.focus({ preventScroll: true });
}

function pick(category) {
  const article = current();
  if (!article) return;
  article.dataset.picked = category;
  for (const choice of article.querySelectorAll(".choice")) {
    choice.setAttribute("aria-pressed", String(choice.dataset.category === category));
  }
  article.querySelector("[data-act=say]").disabled = false;
}

async function say() {
  const article = current();
  const category = article?.dataset.picked;
  if (!category || article.dataset.busy) return;
  article.dataset.busy = "true";
  try {
    await post(`/v1/reviews/second-labels/${article.dataset.decision}`, { category });
    article.remove();
    tell("said", `${category.replaceAll("_", " ")}: said.`);
    if (articles().length === 0) location.reload();
    else show(at);
  } catch (error) {
    delete article.dataset.busy;
    tell("trouble", error.message);
  }
}

asked.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.category) pick(button.dataset.category);
  else if (button?.dataset.act === "say") say();
});

asked.addEventListener("change", (event) => {
  if (event.target.matches("input") && known(event.target.value)) pick(event.target.value);
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.target.matches("input, select, textarea")) {
    if (event.key === "Escape" || event.key === "Enter") {
      event.preventDefault();
      event.target.dispatchEvent(new Event("change", { bubbles: true }));
      current()?.focus();
    }
    return;
  }
  if (event.key === "Enter" && event.target.closest("button, a, header")) return;
  const keys = {
    j: () => show(at + 1),
    k: () => show(at - 1),
    Enter: say,
    c: () => current()?.querySelector("input").focus(),
  };
  const choice = /^[1-9]$/.test(event.key) && current()?.querySelectorAll(".choice")[Number(event.key) - 1];
  if (choice) pick(choice.dataset.category);
  else if (keys[event.key]) keys[event.key]();
  else return;
  event.preventDefault();
});

show(0);
document.body.dataset.ready = "true";
