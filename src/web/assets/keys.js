// What keys do wherever a page is worked from the keyboard.

/** Whether an element takes what is typed. */
export const isField = (element) => element.matches("input, select, textarea");

/** Puts the focus on a field, with its text selected. */
export function enter(field) {
  field?.focus();
  field?.select();
}

/** Whether a held key has come again: it does nothing more, but for those that may be held. */
export function isRepeated(event, held) {
  if (!event.repeat || held.includes(event.key)) return false;
  if (event.key === "Enter") event.preventDefault();
  return true;
}

/** Keeps a held Enter from pressing what a dialog puts the focus on: what it shows is read first. */
export function pressOnce(dialog) {
  dialog.addEventListener("keydown", (event) => isRepeated(event, []));
}
