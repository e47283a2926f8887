// The charts, by Vega-Lite. `ast` lets vega-embed interpret expressions, so that the page's policy needs no eval.
const INK = { labelColor: "var(--ink)", titleColor: "var(--ink)" };
const CONFIG = {
  background: "transparent",
  font: 'system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif',
  view: { stroke: null },
  axis: {
    ...INK, gridColor: "var(--line)", domainColor: "var(--muted)", tickColor: "var(--muted)", labelFontSize: 12,
    titleFontSize: 12, titleFontWeight: 500, titlePadding: 8, labelFlush: false,
  },
  legend: { ...INK, labelFontSize: 12, titleFontSize: 12, orient: "top", symbolSize: 90, labelLimit: 260 },
  title: { color: "var(--ink)", fontSize: 13, fontWeight: 600, anchor: "start" },
  text: { color: "var(--ink)", fontSize: 11 },
};
const COLOURS = [0, 1, 2, 3, 4, 5, 6, 7].map((number) => `var(--c${number})`);
const SHAPES = ["circle", "diamond", "square", "triangle-up", "cross", "triangle-down", "triangle-right", "triangle-left"];
const LINE = { type: "line", strokeWidth: 1.2, color: "var(--muted)" };
const KINDS = ["published", "yours", "reference"];
const drawings = []; // functions that draw a chart again, for another width

function embed(place, spec) {
  const tooltip = { disableDefaultStyle: true };
  const options = { ast: true, actions: false, renderer: "svg", defaultStyle: false, tooltip, config: CONFIG };
  return vegaEmbed(place, { $schema: "https://vega.github.io/schema/vega-lite/v6.json", ...spec }, options);
}

// Panels side by side where there is room, else below each other; `narrow` is the least width of a panel.
function widths(place, panels, narrow) {
  const whole = Math.max(240, place.clientWidth || 900);
  const columns = Math.max(1, Math.min(panels, Math.floor(whole / narrow)));
  return { columns, width: Math.floor(whole / columns) - 85 };
}

// A figure with choices above it; `draw` gives the specification for the chosen values, or a text in place of it.
function figure(section, caption, choices, draw) {
  const form = make("form");
  const selects = choices.map(({ label, options }) => {
    const select = make("select");
    options.forEach((text, number) => select.append(new Option(text, String(number))));
    const frame = make("label", `${label} `);
    frame.append(select);
    if (options.length > 1) form.append(frame);
    return select;
  });
  const frame = make("figure");
  const place = make("div");
  frame.append(place, make("figcaption", caption));
  form.addEventListener("submit", (event) => event.preventDefault());
  section.append(form, frame);
  const redraw = () => embed(place, draw(place, selects.map((select) => Number(select.value))));
  form.addEventListener("change", redraw);
  drawings.push(redraw);
}

// Colour and shape of the values of a field, with one legend.
function series(field) {
  const legend = { title: null, columns: 2 };
  return {
    color: { field, type: "nominal", scale: { range: COLOURS }, legend },
    shape: { field, type: "nominal", scale: { range: SHAPES }, legend },
  };
}
