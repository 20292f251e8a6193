// What a page says: one text at a time, in live regions that are there from the start.

const done = document.getElementById("said");
const trouble = document.getElementById("trouble");
let timer = null;

/** Says what was done. */
export function say(text) {
  show(done, trouble, text);
}

/** Says what went wrong. */
export function complain(error) {
  show(trouble, done, error.message);
}

function show(place, other, text) {
  clearTimeout(timer);
  other.textContent = "";
  place.textContent = text;
  timer = setTimeout(() => { place.textContent = ""; }, 8000);
}
