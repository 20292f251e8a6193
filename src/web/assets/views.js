// Saved views of the queue: what is shown now under a name, and forgetting one.

import { post, remove } from "./api.js";
import { complain } from "./said.js";

const views = document.getElementById("views");
const summary = views.querySelector("summary");

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

views.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-forget]");
  if (!button) return;
  try {
    await remove(`/v1/reviews/views/${button.dataset.forget}`);
    const line = button.closest("li");
    const beside = line.nextElementSibling ?? line.previousElementSibling;
    line.remove();
    (beside?.querySelector("a") ?? summary).focus();
  } catch (error) {
    complain(error);
  }
});

views.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !views.open) return;
  event.preventDefault();
  views.open = false;
  summary.focus();
});
