// Labels given again, blind, from the keyboard.

import { post } from "./api.js";

const asked = document.getElementById("asked");
let current = null;

const articles = () => [...asked.querySelectorAll("article")];
const known = (slug) => [...document.querySelectorAll("#categories option")].some((option) => option.value === slug);

function tell(place, text) {
  const box = document.getElementById(place);
  box.textContent = text;
  box.hidden = false;
  clearTimeout(box.timer);
  box.timer = setTimeout(() => { box.hidden = true; }, 8000);
}

function show(article) {
  const all = articles();
  current = article ?? null;
  all.forEach((other) => { other.hidden = other !== current; });
  document.getElementById("empty").hidden = all.length > 0;
  current?.focus({ preventScroll: true });
}

function move(step) {
  const all = articles();
  show(all[Math.min(Math.max(all.indexOf(current) + step, 0), all.length - 1)]);
}

function pick(category) {
  if (!current) return;
  current.dataset.picked = category;
  for (const choice of current.querySelectorAll(".choice")) {
    choice.setAttribute("aria-pressed", String(choice.dataset.category === category));
  }
  current.querySelector("[data-act=say]").disabled = false;
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
    tell("said", `${category.replaceAll("_", " ")}: said.`);
    if (all.length === 1) location.reload();
    else if (article === current) show(all[at + 1] ?? all[at - 1]);
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
      current?.focus();
    }
    return;
  }
  if (event.key === "Enter" && event.target.closest("button, a, header")) return;
  const keys = {
    j: () => move(1),
    k: () => move(-1),
    Enter: say,
    c: () => current?.querySelector("input").focus(),
  };
  const choice = /^[1-9]$/.test(event.key) && current?.querySelectorAll(".choice")[Number(event.key) - 1];
  if (choice) pick(choice.dataset.category);
  else if (keys[event.key]) keys[event.key]();
  else return;
  event.preventDefault();
});

show(articles()[0]);
document.body.dataset.ready = "true";
