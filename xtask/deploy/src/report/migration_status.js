
"use strict";
// Without this script everything is shown; with it, tenants that are alike are one line until somebody asks.
const search = document.getElementById("search");
const boxes = [...document.querySelectorAll(".controls input[type=checkbox]")];
const groups = [...document.querySelectorAll("tbody")].map((body) => ({
  body,
  button: body.querySelector("button"),
  total: body.querySelectorAll("tr.member").length,
  names: [...body.querySelectorAll("th[data-name]")].map((head) => ({
    row: head.parentElement, text: head.dataset.name.toLowerCase(),
  })),
}));
function show() {
  const words = search.value.toLowerCase().split(" ").filter((word) => word !== "");
  const states = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
  let found = 0;
  for (const { body, button, total, names } of groups) {
    const open = button === null || button.getAttribute("aria-expanded") === "true";
    let hits = 0;
    for (const { row, text } of names) {
      const hit = words.every((word) => text.includes(word));
      hits += hit ? 1 : 0;
      if (button !== null) row.hidden = !(hit && (open || words.length > 0));
    }
    body.hidden = hits === 0 || !states.has(body.dataset.state);
    if (!body.hidden) found += hits;
    if (button !== null) button.firstElementChild.textContent = hits === total ? total : hits + " of " + total;
  }
  document.getElementById("none").hidden = found > 0;
}
for (const { button } of groups) {
  if (button === null) continue;
  button.setAttribute("aria-expanded", "false");
  button.addEventListener("click", () => {
    button.setAttribute("aria-expanded", String(button.getAttribute("aria-expanded") !== "true"));
    show();
  });
}
search.addEventListener("input", show);
for (const box of boxes) box.addEventListener("change", show);
show();
