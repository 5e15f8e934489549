"use strict";
// The page is whole without this. It sorts tables, and shows in words which trial the pointer is on.

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").onclick = () => {
      const isUp = head.ariaSort !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.ariaSort = isUp ? "ascending" : "descending";
      const rows = [...table.tBodies[0].rows].sort((a, b) => compare(a, b, column, isUp ? 1 : -1));
      table.tBodies[0].append(...rows);
    };
  });
}

function compare(one, other, column, sign) {
  const [a, b] = [one, other].map((row) => row.cells[column].dataset.sort);
  if (!a || !b) return Number(!a) - Number(!b); // what is missing comes last in either order
  const difference = Number(a) - Number(b);
  return sign * (Number.isNaN(difference) ? a.localeCompare(b) : difference);
}

document.addEventListener("pointerover", (event) => {
  for (const shape of document.querySelectorAll(".on")) shape.classList.remove("on");
  const mark = event.target.closest("[data-trial]");
  if (!mark) return;
  for (const shape of document.querySelectorAll(`[data-trial="${mark.dataset.trial}"]`)) {
    shape.classList.add("on");
  }
  const caption = mark.closest("figure")?.querySelector("figcaption");
  if (caption) caption.textContent = mark.querySelector("title").textContent;
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const zoom of document.querySelectorAll(".zoom:checked")) zoom.checked = false;
});
