"use strict";
// The score table: its columns, rows, order and filters. Every text is written as text, never as HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);

function make(tag, text, classes) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (classes) node.className = classes;
  return node;
}

function fixed(value, decimals) {
  return value === null || value === undefined ? "" : value.toFixed(decimals);
}

// A column: head and second line, the value that sorts, whether its first order is descending, and the cell of a row.
function textColumn(label, value, cell) {
  return { label, small: "", number: false, descending: false, value, fill: cell || ((row) => make("td", value(row))) };
}
function numberColumn(label, small, value, decimals, descending) {
  return {
    label, small, number: true, descending, value,
    fill: (row) => make("td", fixed(value(row), decimals), "number"),
  };
}

const marks = new Map();
for (const mark of data.compare ? data.compare.marks : []) {
  marks.set([mark.suite, mark.name, mark.key].join("\n"), mark);
}
const SIGNS = { better: "▲", worse: "▼", level: "≈" };

// A mean with its standard deviation below it, the number of values if it is not the row's, and the mark.
function measured(row, found, key) {
  const cell = make("td", undefined, "number");
  if (!found) return cell;
  const mark = marks.get([row.suite, row.name, key].join("\n"));
  if (mark) {
    const sign = make("span", `${SIGNS[mark.word]} `, `mark ${mark.word}`);
    sign.setAttribute("role", "img");
    sign.title = `${mark.word} ${mark.word === "level" ? "with" : "than"} ${data.compare.control}`;
    sign.setAttribute("aria-label", sign.title);
    cell.append(sign);
  }
  cell.append(found.mean.toFixed(found.decimals));
  const below = [];
  if (found.sd !== undefined) below.push(`± ${found.sd.toFixed(found.decimals)}`);
  if (row.count !== undefined && row.count !== found.n) below.push(`n ${found.n}`);
  if (below.length) cell.append(make("small", below.join(", ")));
  return cell;
}

function nameCell(row) {
  const cell = make("th", row.name, "name");
  cell.scope = "row";
  if (row.steps !== null) cell.append(make("small", row.steps === 1 ? "1 generated layer" : `${row.steps} generated layers`));
  for (const note of row.notes) cell.append(make("small", note));
  return cell;
}

function kindCell(row) {
  const cell = make("td");
  cell.append(make("span", row.kind, `tag ${row.kind}`));
  return cell;
}

function sourceCell(row) {
  const cell = make("td", undefined, "source");
  if (!row.source.link) {
    cell.textContent = row.source.words;
    return cell;
  }
  const link = make("a", row.source.words);
  link.href = row.source.link;
  link.rel = "noreferrer noopener";
  cell.append(link);
  return cell;
}

const tableColumns = [
  textColumn("model", (row) => row.name, nameCell),
  textColumn("kind", (row) => row.kind, kindCell),
  numberColumn("parameters", "M", (row) => (row.parameters === null ? null : row.parameters / 1e6), 2, false),
  numberColumn("multiply-adds", "G per s", (row) => row.macs, 3, false),
  numberColumn("CPU", "s per s", (row) => row.cpu, 4, false),
  {
    label: "score", small: "↑", number: true, descending: true,
    value: (row) => (row.score ? row.score.mean : null), fill: (row) => measured(row, row.score, "score"),
  },
  ...data.columns.map((column) => ({
    label: column.task, small: `${column.label} ${column.higher ? "↑" : "↓"}`, number: true,
    descending: column.higher, title: column.title,
    value: (row) => (row.cells[column.key] ? row.cells[column.key].mean : null),
    fill: (row) => measured(row, row.cells[column.key], column.key),
  })),
  textColumn("runs", (row) => row.runs),
  textColumn("preset", (row) => row.preset),
  textColumn("features", (row) => row.features),
  textColumn("source", (row) => row.source.words, sourceCell),
].filter((column) => data.rows.some((row) => ![null, "", "1"].includes(column.value(row))));

const scoreColumn = tableColumns.find((column) => column.label === "score") || tableColumns[0];
const order = { column: scoreColumn, descending: scoreColumn.descending };

function compare(one, other) {
  const [a, b] = [order.column.value(one), order.column.value(other)];
  const byName = one.name.localeCompare(other.name, "en", { numeric: true });
  if (a === b) return byName;
  if (a === null || a === "") return 1; // a row without a value comes last in both orders
  if (b === null || b === "") return -1;
  const found = typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
  return (order.descending ? -found : found) || byName;
}

function shownRows() {
  const words = at("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  return data.rows.filter((row) => {
    const text = [row.name, row.suite, row.source.words, row.kind].join(" ").toLowerCase();
    const chosen = ["kind", "preset", "features"].every((id) => !at(id).value || row[id] === at(id).value);
    return chosen && words.every((word) => text.includes(word));
  });
}

function drawHead(table) {
  const line = make("tr");
  for (const column of tableColumns) {
    const cell = make("th", undefined, column.number ? "number" : "");
    cell.scope = "col";
    const button = make("button");
    button.type = "button";
    button.append(make("span", column.label, "label"));
    if (column.small) button.append(make("small", column.small));
    button.title = column.title ? `${column.title}: sort` : "sort";
    button.addEventListener("click", () => {
      order.descending = order.column === column ? !order.descending : column.descending;
      order.column = column;
      drawBody();
    });
    column.head = cell;
    cell.append(button);
    line.append(cell);
  }
  const head = make("thead");
  head.append(line);
  table.append(head);
}

function drawBody() {
  const table = at("scores");
  const shown = shownRows().sort(compare);
  const bodies = [];
  for (const group of data.groups) {
    const rows = shown.filter((row) => row.group === group.id);
    if (!rows.length) continue;
    const body = make("tbody");
    const title = make("th");
    title.colSpan = tableColumns.length;
    title.scope = "rowgroup";
    title.append(make("span", group.title));
    const line = make("tr", undefined, "group");
    line.append(title);
    body.append(line);
    for (const row of rows) {
      const found = make("tr");
      found.append(...tableColumns.map((column) => column.fill(row)));
      body.append(found);
    }
    bodies.push(body);
  }
  for (const old of [...table.tBodies]) old.remove();
  table.append(...bodies);
  for (const column of tableColumns) {
    column.head.removeAttribute("aria-sort");
    if (column === order.column) column.head.setAttribute("aria-sort", order.descending ? "descending" : "ascending");
  }
  at("count").textContent = `${shown.length} of ${data.rows.length} rows` + (shown.length ? "" : ": no row fits the filters");
}

function fillChoices(id) {
  at(id).append(new Option("all", ""));
  for (const value of new Set(data.rows.map((row) => row[id]))) at(id).append(new Option(value, value));
}

function drawTable() {
  ["kind", "preset", "features"].forEach(fillChoices);
  const yours = data.rows.filter((row) => row.kind !== "published").length;
  at("summary").textContent = `${yours} ${yours === 1 ? "row" : "rows"} of your suites, ${data.rows.length - yours} published rows.`;
  drawHead(at("scores"));
  drawBody();
  at("search").addEventListener("input", drawBody);
  at("filters").addEventListener("change", drawBody);
  at("filters").addEventListener("submit", (event) => event.preventDefault());
  at("filters").addEventListener("reset", () => setTimeout(drawBody));
  const sorting = "A click on a head sorts the rows of each group, a second click turns the order. ↑: higher is better, ↓: lower.";
  const control = data.compare ? ` ▲ better, ▼ worse, ≈ level: against ${data.compare.control}.` : "";
  at("keys").textContent = sorting + control;
  at("notes").append(...data.notes.map((note) => make("p", note)));
}

function drawComparison() {
  const section = at("compare");
  if (!data.compare) {
    section.append(make("p", "No student was chosen to compare with: gendistiller board RESULTS --compare STUDENT marks all others of its suite.", "note"));
    return;
  }
  const heads = ["suite", "student", "metric", "mark", "student's value", "control's value", "difference", "95 % interval", "p (Holm)", "items", "seeds"];
  const names = new Map(data.columns.map((column) => [column.key, `${column.task} ${column.label} ${column.higher ? "↑" : "↓"}`]));
  const table = make("table");
  const head = make("tr");
  heads.forEach((text, place) => {
    const cell = make("th", undefined, place > 3 ? "number" : "");
    cell.scope = "col";
    cell.append(make("span", text));
    head.append(cell);
  });
  const top = make("thead");
  top.append(head);
  const body = make("tbody");
  const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
  for (const mark of data.compare.marks) {
    const line = make("tr");
    line.append(make("td", mark.suite), make("td", mark.name), make("td", names.get(mark.key)));
    line.append(make("td", `${SIGNS[mark.word]} ${mark.word}`, mark.word));
    const numbers = [
      ...mark.values.map((value) => value.toFixed(2)), signed(mark.difference),
      `${signed(mark.low)} to ${signed(mark.high)}`, mark.p.toFixed(4), String(mark.items), mark.seeds,
    ];
    line.append(...numbers.map((text) => make("td", text, "number")));
    body.append(line);
  }
  table.append(top, body);
  section.append(make("p", `Control: ${data.compare.control}.`));
  if (data.compare.marks.length) {
    const frame = make("div", undefined, "scroll");
    frame.tabIndex = 0;
    frame.append(table);
    section.append(frame);
  }
  for (const text of [...data.compare.notes, ...data.compare.reasons]) section.append(make("p", text, "note"));
}

drawTable();
drawComparison();
