// Categories as people type them: by slug or by name, in whichever case.

import { complain } from "./said.js";

const plain = (text) => text.trim().replaceAll("_", " ").toLowerCase();

/** The slug of the category that a text means; null where it means none. */
export function categoryOf(text) {
  const options = [...document.querySelectorAll("#categories option")];
  return options.find(({ value, textContent }) => [value, textContent].map(plain).includes(plain(text)))?.value ?? null;
}

/** The slug of what is typed in a field: empty where nothing is, and null where it is no category, which is said. */
export function typedIn(field) {
  const text = field.value.trim();
  const category = text && categoryOf(text);
  if (category === null) {
    field.setAttribute("aria-invalid", "true");
    complain(new Error(`“${text}” is no category: type one that the list has.`));
  } else {
    field.removeAttribute("aria-invalid");
  }
  return category;
}
