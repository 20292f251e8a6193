// What a person says of a whole merchant: shown with every row that it decides, before anything does.

import { post } from "./api.js";
import { categoryOf } from "./categories.js";
import { pressOnce } from "./keys.js";
import { complain } from "./said.js";
import { reload } from "./trail.js";

const preview = document.getElementById("preview");
const note = document.getElementById("why-note");
const merchant = document.querySelector(".edits").dataset.merchant;
let asking = false;
let asked = null;

const words = (slug) => slug.replaceAll("_", " ");
const rows = (count) => `${count} ${count === 1 ? "row" : "rows"}`;

function change(form) {
  const fields = new FormData(form);
  const text = (name) => fields.get(name).trim();
  return {
    rename: () => ({ kind: "rename", name: text("name") || null }),
    categorize: () => ({ kind: "categorize", direction: text("direction"), category: categoryOf(text("category")) ?? text("category") }),
    merge: () => ({ kind: "merge", into: text("into") }),
  }[form.dataset.kind]();
}

function title(said) {
  return {
    rename: () => (said.name ? `Call it ${said.name}` : "Take its name away"),
    categorize: () => `Every ${said.direction} of ${merchant} is ${words(said.category)}`,
    merge: () => `Merge ${merchant} into ${said.into}`,
  }[said.kind]();
}

function row(found) {
  const line = document.createElement("tr");
  const cells = [
    [found.posted_at.slice(0, 10), "day"],
    [found.descriptor, "text"],
    [found.account_id],
    [`${found.amount} ${found.currency}`, "number"],
    [words(found.category)],
    [words(found.becomes)],
    [found.waits ? "waits" : "–"],
  ];
  for (const [text, kind] of cells) {
    const cell = line.insertCell();
    cell.textContent = text;
    if (kind) cell.className = kind;
  }
  return line;
}

for (const form of document.querySelectorAll(".edits form")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (asking || preview.open) return;
    asking = true;
    const said = change(form);
    try {
      const found = await post("/v1/merchants/preview", { merchant, change: said });
      asked = { said, found };
      document.getElementById("preview-title").textContent = title(said);
      document.getElementById("memory").textContent =
        `${rows(found.rows)} decided, ${found.changing} of them with another category. It will be remembered: ${found.memory}.`;
      document.getElementById("rows").replaceChildren(...found.affected.map(row));
      document.getElementById("reached").hidden = found.rows === 0;
      document.getElementById("more").textContent =
        found.rows > found.affected.length ? `The first ${found.affected.length} of ${found.rows} rows.` : "";
      document.getElementById("apply").textContent = found.rows ? `Apply to ${rows(found.rows)}` : "Apply";
      note.value = "";
      preview.showModal();
      document.getElementById("apply").focus();
    } catch (error) {
      complain(error);
    } finally {
      asking = false;
    }
  });
}

pressOnce(preview);
preview.addEventListener("close", async () => {
  const apply = preview.returnValue === "apply";
  preview.returnValue = "";
  if (!apply || !asked) return;
  const { said, found } = asked;
  const why = note.value.trim() || null;
  try {
    const done = await post("/v1/merchants/edits", { merchant, change: said, note: why, expects: found.rows });
    reload(`Done: ${rows(done.rows)} decided.`, `/merchants/one?${new URLSearchParams({ key: found.merchant })}`);
  } catch (error) {
    complain(error);
  }
});
