// Long tables sort by a click on a column's head, and the rows of the longest can be filtered. Tables of notebooks do so by
// themselves, others by the class "sortable". PAGE.html?filter=WORDS&COLUMN=CHOICE opens a page with its tables filtered.
const SORTED_ROWS = 8, FILTERED_ROWS = 15; // with more rows than these
const CHOICES = 9; // a column with no more different words than these can be filtered by a list of them
const NUMBER = /^[+\-−]?(\d[\d,]*\.?\d*|\.\d+)(e[+\-]?\d+)?(?=$|[\s%±(])/i;
const MISSING = /^(|-|–|none|nan|not run)$/i;

const text = (cell) => (cell?.textContent ?? "").trim();
const number = (value) => parseFloat(value.match(NUMBER)[0].replaceAll(",", "").replace("−", "-"));

// pandas writes the names of the rows' heads in a line of its own, under the heads of the columns: one line for both.
function joinHeads(lines) {
  const [above, below] = [...lines].map((line) => [...line.cells]);
  if (lines.length !== 2 || above.length !== below.length || above.some((cell, i) => text(cell) && text(below[i]))) return;
  above.forEach((cell, i) => text(below[i]) && cell.replaceChildren(...below[i].childNodes));
  lines[1].remove();
}

// The head of each column: the last cell with words over it that no other column shares.
function heads(table) {
  const found = [];
  for (const row of table.tHead?.rows ?? []) {
    let column = 0;
    for (const cell of row.cells) {
      if (cell.colSpan === 1 && text(cell)) found[column] = cell;
      column += cell.colSpan;
    }
  }
  return found;
}

// Rows in the order of a column; a third click gives them back as they were.
const NEXT = { none: "ascending", ascending: "descending", descending: "none" };

function sorted(rows, column, numeric, order) {
  if (order === "none") return rows;
  const { compare } = new Intl.Collator("en", { numeric: true });
  return rows.toSorted((first, second) => {
    const [a, b] = [text(first.cells[column]), text(second.cells[column])];
    if (MISSING.test(a) || MISSING.test(b)) return MISSING.test(a) - MISSING.test(b); // the missing stay last
    return (numeric ? number(a) - number(b) : compare(a, b)) * (order === "descending" ? -1 : 1);
  });
}

function isNumeric(body, column) {
  const values = [...body.rows].map((row) => text(row.cells[column])).filter((value) => !MISSING.test(value));
  return values.length > 0 && values.every((value) => NUMBER.test(value));
}

// 389768 as 389,768, in the words of a cell and of the links in it.
function groupDigits(cell) {
  const words = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
  while (words.nextNode()) words.currentNode.data = words.currentNode.data.replace(/(?<![\d.,])\d{4,}/g, (digits) => (+digits).toLocaleString("en"));
}

function makeSortable(body, columns, column, numeric) {
  const rows = [...body.rows], head = columns[column], button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  head.append(button);
  button.addEventListener("click", () => {
    const order = NEXT[head.ariaSort ?? "none"];
    for (const other of columns) other?.removeAttribute("aria-sort");
    head.ariaSort = order;
    body.append(...sorted(rows, column, numeric, order));
  });
}

// A box for words, and a list for each column that holds one of a few; beside them how many rows are left.
function addFilter(table, columns, asked) {
  const rows = [...table.tBodies[0].rows], bar = document.createElement("p"), count = document.createElement("output");
  const words = document.createElement("input");
  Object.assign(words, { type: "search", placeholder: "filter rows", ariaLabel: "filter rows", value: asked.get("filter") ?? "" });
  const lists = columns.flatMap((head, column) => {
    const choices = [...new Set(rows.map((row) => text(row.cells[column])))].sort();
    if (head.classList.contains("number") || choices.length < 2 || choices.length > CHOICES || choices.includes("")) return [];
    const list = document.createElement("select"), name = text(head);
    list.ariaLabel = name;
    list.append(new Option(`${name}: any`, ""), ...choices.map((choice) => new Option(choice)));
    list.value = choices.includes(asked.get(name)) ? asked.get(name) : "";
    return [{ list, column }];
  });
  const apply = () => {
    const wanted = words.value.toLowerCase().split(/\s+/);
    for (const row of rows)
      row.hidden = !wanted.every((word) => row.textContent.toLowerCase().includes(word)) ||
        lists.some(({ list, column }) => list.value && list.value !== text(row.cells[column]));
    count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  };
  bar.className = "table-filter";
  bar.append(words, ...lists.map(({ list }) => list), count);
  bar.addEventListener("input", apply);
  (table.closest(".pst-scrollable-table-container, .output") ?? table).before(bar);
  apply();
}

addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll(".cell_output table, table.sortable")) {
    joinHeads(table.tHead?.rows ?? []);
    const body = table.tBodies[0], columns = heads(table);
    if (!body || body.querySelector("[rowspan]:not([rowspan='1']), [colspan]:not([colspan='1'])")) continue;
    columns.forEach((head, column) => {
      const numeric = isNumeric(body, column);
      if (numeric) {
        const cells = [...body.rows].map((row) => row.cells[column]).filter(Boolean);
        for (const cell of [head, ...cells]) cell.classList.add("number");
        cells.forEach(groupDigits);
      }
      if (body.rows.length > SORTED_ROWS) makeSortable(body, columns, column, numeric);
    });
    if (body.rows.length > FILTERED_ROWS) addFilter(table, columns, new URLSearchParams(location.search));
  }
});
