// The figures of the page: what each shows, from which rows, and what stands in its place where there is nothing.
function qualities(rows) {
  const found = data.columns.filter((column) => rows.some((row) => row.cells[column.key]));
  const score = { key: null, name: "score", higher: true };
  const listed = found.map((column) => ({ ...column, name: `${column.task} ${column.label}` }));
  return rows.some((row) => row.score) ? [score, ...listed] : listed;
}

function valueOf(row, quality) {
  return quality.key === null ? row.score : row.cells[quality.key];
}

function qualityAxis(quality) {
  return `${quality.name}, ${quality.higher ? "higher" : "lower"} is better`;
}

// The points that a chart names, the best first: of the user and of published ones those that no smaller one exceeds,
// and all of the user where they are few. A published point close to a named one keeps its name for its tooltip.
function named(points, higher) {
  const better = (a, b) => (higher ? b.y - a.y : a.y - b.y);
  const ours = points.filter((point) => point.kind !== "published");
  const names = new Set(ours.length <= 8 ? ours.map((point) => point.name) : []);
  for (const side of [ours, points.filter((point) => point.kind === "published")]) {
    const taken = [];
    let smallest = Infinity;
    for (const point of [...side].sort((a, b) => better(a, b) || a.x - b.x)) {
      if (point.x < smallest && taken.every((x) => Math.abs(Math.log(x / point.x)) > 0.3)) {
        names.add(point.name);
        taken.push(point.x);
      }
      smallest = Math.min(smallest, point.x);
    }
  }
  return names;
}

function sizePanel(rows, quality, size, width) {
  const points = rows.flatMap((row) => {
    const [x, found] = [size.value(row), valueOf(row, quality)];
    if (!x || !found) return [];
    const sd = found.sd || 0;
    return [{ name: row.name, kind: row.kind, x, y: found.mean, low: found.mean - sd, high: found.mean + sd, sd }];
  });
  const names = named(points, quality.higher);
  const values = points.map((point) => ({ ...point, text: names.has(point.name) ? point.name : "" }));
  const spread = values.filter((point) => point.sd > 0);
  const x = { field: "x", type: "quantitative", scale: { type: "log", nice: false, padding: 40 }, title: size.title, axis: { tickCount: 5, format: ".3~g", grid: false } };
  const y = { field: "y", type: "quantitative", scale: { zero: false, padding: 14 }, title: qualityAxis(quality), axis: { format: ".4~g", tickCount: 6 } };
  const kinds = KINDS.filter((kind) => rows.some((row) => row.kind === kind));
  const scale = (range) => ({ domain: kinds, range: kinds.map((kind) => range[KINDS.indexOf(kind)]) });
  const legend = { title: null };
  const tooltip = [
    { field: "name", title: "model" }, { field: "kind", title: "kind" },
    { field: "x", title: size.title, format: ".3f" }, { field: "y", title: quality.name, format: ".2f" },
    { field: "sd", title: "standard deviation", format: ".2f" },
  ];
  return {
    width, height: 300, data: { values },
    layer: [
      ...(spread.length ? [{ data: { values: spread }, mark: { type: "rule", color: "var(--muted)" }, encoding: { x, y: { ...y, field: "low" }, y2: { field: "high" } } }] : []),
      {
        mark: { type: "point", filled: true, size: 80, opacity: 0.9 },
        encoding: {
          x, y, tooltip,
          color: { field: "kind", type: "nominal", scale: scale(["var(--published)", "var(--yours)", "var(--reference)"]), legend },
          shape: { field: "kind", type: "nominal", scale: scale(["circle", "diamond", "square"]), legend },
        },
      },
      { mark: { type: "text", align: "left", dx: 9, limit: 150 }, encoding: { x, y, text: { field: "text" } } },
    ],
  };
}

const SIZES = [
  { title: "millions of parameters", value: (row) => (row.parameters === null ? null : row.parameters / 1e6) },
  { title: "G multiply-adds per second of audio", value: (row) => row.macs },
];

function drawSizes() {
  const section = at("sizes");
  for (const group of data.groups) {
    const rows = data.rows.filter((row) => row.group === group.id && (row.kind !== "published" || row.score.mean >= data.drawn));
    const known = rows.filter((row) => row.parameters || row.macs);
    const choice = qualities(known);
    if (!choice.length) {
      section.append(make("p", `${group.title}: no row has a number of parameters or multiply-adds and a result.`, "note"));
      continue;
    }
    const older = group.comparable ? ` Published rows below ${data.drawn} points stand in the table alone.` : "";
    const caption = `${group.title}. Both axes of size are logarithmic. Vertical lines: one standard deviation.${older}`;
    figure(section, caption, [{ label: `Quality, ${group.short}`, options: choice.map((one) => one.name) }], (place, [chosen]) => {
      const { columns, width } = widths(place, 2, 420);
      const panels = SIZES.map((size) => sizePanel(known, choice[chosen], size, width - 40)).filter((panel) => panel.data.values.length);
      return { description: caption, concat: panels, columns, spacing: 30 };
    });
  }
}

// Rows of one checkpoint that generate different numbers of layers.
function families() {
  const found = new Map();
  for (const row of data.rows.filter((one) => one.family)) {
    const key = [row.family, row.features].join("\n");
    found.set(key, [...(found.get(key) || []), row]);
  }
  return [...found.values()].filter((rows) => new Set(rows.map((row) => row.steps)).size > 1);
}

function drawSteps() {
  const section = at("steps");
  const rows = families().flatMap((family) => {
    const sorted = [...family].sort((a, b) => (a.steps || Infinity) - (b.steps || Infinity));
    const whole = sorted[sorted.length - 1];
    return sorted.map((row, place) => ({ ...row, place, of: `${whole.name} (${row.suite})` }));
  });
  const choice = qualities(rows);
  if (!choice.length) {
    section.append(make("p", "No checkpoint stands here with several numbers of generated layers: gendistiller superb --student one=CHECKPOINT@1 two=CHECKPOINT@2 gives such rows.", "note"));
    return;
  }
  const caption = "One line for each checkpoint, stopped after its first layers. Rows of different suites are comparable only where their settings and corpora are the same.";
  figure(section, caption, [{ label: "Quality", options: choice.map((one) => one.name) }], (place, [chosen]) => {
    const quality = choice[chosen];
    const { columns, width } = widths(place, 2, 420);
    const values = rows.flatMap((row) => {
      const found = valueOf(row, quality);
      if (!found) return [];
      return [{ of: row.of, steps: row.steps === null ? "all" : String(row.steps), place: row.place, cpu: row.cpu, macs: row.macs, y: found.mean }];
    });
    const time = values.some((value) => value.cpu) ? { field: "cpu", title: "CPU s per second of audio" } : { field: "macs", title: "G multiply-adds per second of audio" };
    const numbers = [...new Set(values.map((value) => value.steps))].sort((a, b) => (a === "all") - (b === "all") || a - b);
    const axes = [
      { field: "steps", type: "ordinal", sort: numbers, title: "generated layers", axis: { labelAngle: 0 } },
      { ...time, type: "quantitative", scale: { zero: false, padding: 20 }, axis: { format: ".3~g", tickCount: 5, grid: false } },
    ];
    const y = { field: "y", type: "quantitative", scale: { zero: false, padding: 14 }, title: qualityAxis(quality), axis: { format: ".4~g", tickCount: 6 } };
    return {
      description: caption, columns, spacing: 30,
      concat: axes.map((x, number) => ({
        width, height: 260, data: { values: values.filter((value) => number === 0 || value[time.field]) },
        encoding: { x, y },
        layer: [
          { mark: LINE, encoding: { detail: { field: "of" }, order: { field: "place" } } },
          { mark: { type: "point", filled: true, size: 80, opacity: 1 }, encoding: { ...series("of"), tooltip: stepTooltip(quality) } },
          { mark: { type: "text", dy: -12 }, encoding: { text: { field: "steps" } } },
        ],
      })),
    };
  });
}

function stepTooltip(quality) {
  return [
    { field: "of", title: "checkpoint" }, { field: "steps", title: "generated layers" },
    { field: "cpu", title: "CPU s per s", format: ".4f" }, { field: "macs", title: "G multiply-adds per s", format: ".3f" },
    { field: "y", title: quality.name, format: ".2f" },
  ];
}

function nameInSuite(one) {
  return `${one.name} (${one.suite})`;
}

function students(list) {
  return [...new Set(list.map(nameInSuite))];
}

function drawSearches() {
  const section = at("searches");
  if (!data.searches.length) {
    section.append(make("p", "No student has a search: --preset official searches learning rates, and --lr-search does with the small preset.", "note"));
    return;
  }
  const names = students(data.searches);
  const caption = "Values on dev by learning rate (QbE: by layer), after the steps that the search trained. The ring is what the search chose.";
  figure(section, caption, [{ label: "Student", options: names }], (place, [chosen]) => {
    const found = data.searches.filter((one) => nameInSuite(one) === names[chosen]);
    const { columns, width } = widths(place, found.length, 320);
    const concat = found.map((one) => {
      const log = one.axis === "learning rate";
      const x = { field: "rate", type: "quantitative", title: one.axis, scale: log ? { type: "log", nice: false, padding: 14 } : { padding: 14 }, axis: { values: [...new Set(one.points.map((point) => point.rate))], format: log ? "~e" : "d", grid: false } };
      const y = { field: "value", type: "quantitative", scale: { zero: false, padding: 14 }, title: `${one.label}, ${one.higher ? "higher" : "lower"} is better`, axis: { format: ".4~g", tickCount: 5 } };
      const ring = { filter: `datum.rate == ${Number(one.chosen)}` };
      return {
        title: one.task, width: Math.min(width, 460), height: 180, data: { values: one.points }, encoding: { x, y },
        layer: [
          { mark: LINE, encoding: { detail: { field: "steps" } } },
          { mark: { type: "point", filled: true, size: 80, opacity: 1 }, encoding: { ...series("steps"), tooltip: [{ field: "rate", title: one.axis }, { field: "steps", title: "trained" }, { field: "value", title: one.label, format: ".2f" }] } },
          ...(one.chosen === null ? [] : [{ transform: [ring], mark: { type: "point", size: 260, color: "var(--ink)", strokeWidth: 1.5 } }]),
        ],
      };
    });
    return { description: caption, concat, columns, spacing: 30 };
  });
}

function drawTrainings() {
  const section = at("trainings");
  if (!data.trainings.length) {
    section.append(make("p", "No run of run_pretrain.py stands beside the checkpoints of these results, so that there is no curve of a distillation.", "note"));
    return;
  }
  const names = students(data.trainings);
  const caption = "Loss of each distillation by optimiser step. Losses of students with other objectives are not comparable.";
  figure(section, caption, [{ label: "Student", options: names }], (place, [chosen]) => {
    const found = data.trainings.filter((one) => nameInSuite(one) === names[chosen]);
    const values = found.flatMap((one) => one.points.map((point, place) => ({ ...point, run: one.run, last: place === one.points.length - 1 })));
    return {
      description: caption, width: widths(place, 1, 420).width, height: 260, data: { values },
      encoding: {
        x: { field: "step", type: "quantitative", title: "optimiser step", scale: { nice: false }, axis: { tickCount: 6 } },
        y: { field: "loss", type: "quantitative", title: "loss, lower is better", scale: { zero: false } },
      },
      layer: [
        {
          mark: { type: "line", strokeWidth: 1.2, color: "var(--muted)" },
          encoding: {
            detail: { field: "run" },
            strokeDash: { field: "speech", type: "nominal", legend: { title: null }, sort: ["held-out files", "training files"] },
          },
        },
        { transform: [{ filter: "datum.speech == 'held-out files' || datum.last" }], mark: { type: "point", filled: true, size: 50, opacity: 1 }, encoding: series("run") },
      ],
    };
  });
}

// One chart after another, each in a task of its own, so that the table can be used meanwhile.
async function drawAll() {
  for (const redraw of drawings) {
    await redraw();
    await new Promise((done) => setTimeout(done));
  }
  document.documentElement.dataset.drawnMs = performance.now().toFixed(0);
}

drawSizes();
drawSteps();
drawSearches();
drawTrainings();
addEventListener("load", () => setTimeout(drawAll)); // the table first

let lastWidth = document.documentElement.clientWidth;
let waiting = 0;
addEventListener("resize", () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    if (document.documentElement.clientWidth === lastWidth) return;
    lastWidth = document.documentElement.clientWidth;
    drawAll();
  }, 200);
});
