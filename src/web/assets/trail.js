// What was done, with a way to take it back. What happened is said once the page is there again.

import { post } from "./api.js";
import { complain, say } from "./said.js";

const kept = "said-after-reload";

/** Loads the page anew, which then says what was done. */
export function reload(text, to = location.href) {
  sessionStorage.setItem(kept, text);
  if (to === location.href) location.reload();
  else location.assign(to);
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-undo]");
  if (!button) return;
  button.disabled = true;
  try {
    const undone = await post(`/v1/reviews/decisions/${button.dataset.undo}/undo`);
    const rows = `${undone.restored} ${undone.restored === 1 ? "row is" : "rows are"} as before`;
    const stay = undone.kept ? `, ${undone.kept} were decided again since and stay` : "";
    reload(`Undone: ${rows}${stay}.`);
  } catch (error) {
    button.disabled = false;
    button.focus();
    complain(error);
  }
});

const said = sessionStorage.getItem(kept);
sessionStorage.removeItem(kept);
if (said) {
  say(said);
  document.getElementById("main").focus();
}
document.body.dataset.ready = "true";
