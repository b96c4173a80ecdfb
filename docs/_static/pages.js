// Tables that are wider than a phone show their rows as blocks: pages.css does so for the class "stacked".
function stackTables() {
  for (const table of document.querySelectorAll("article table.docutils")) {
    const titles = [...table.querySelectorAll("thead th")].map((cell) => cell.textContent.trim());
    table.classList.remove("stacked");
    if (!matchMedia("(max-width: 40em)").matches) continue;
    if (table.scrollWidth <= table.parentElement.clientWidth + 1) continue;
    for (const row of table.tBodies[0].rows) {
      [...row.cells].forEach((cell, i) => {
        cell.dataset.title = i && titles[i] ? `${titles[i]}: ` : "";
      });
    }
    table.classList.add("stacked");
  }
}
addEventListener("DOMContentLoaded", stackTables);
addEventListener("resize", stackTables);
