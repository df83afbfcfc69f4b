// What each layer would say next, position by position.

const SHOWN = 16;
let readings;

async function lensView(main, wanted) {
  readings ??= JSON.parse(new TextDecoder().decode(await bytes("lens")));
  if (!wanted()) return;
  const start = Math.min(Math.max(state.from ?? count - SHOWN, 0), Math.max(count - SHOWN, 0));
  const shown = readings.positions.slice(start, start + SHOWN);
  const page = (by, text) => make("button", {
    type: "button", "data-keep": text, disabled: (by < 0 ? start === 0 : start + SHOWN >= count) ? "" : undefined,
    onclick: () => go({ from: Math.max(start + by, 0) }),
  }, text);
  const tools = make("div", { class: "tools" }, page(-SHOWN, "‹ earlier"), page(SHOWN, "later ›"),
    make("span", { class: "note" }, "Each cell: the likeliest next token if the model ended there, in the colour of its probability; framed where it is the final answer."));
  const detail = make("aside", { class: "panel", id: "lens-detail", "aria-label": "What is likely there" });
  const head = make("tr", {}, make("th", { scope: "col" }, "after"), ...shown.map((one) => make("th", { scope: "col" }, token(one.position))));
  const depths = shown[0].depths.length;
  const rows = Array.from({ length: depths }, (_, i) => depths - 1 - i).map((depth) =>
    make("tr", {}, make("th", { scope: "row" }, depthName(depth)), ...shown.map((one) => cell(one, depth, detail))));
  main.replaceChildren(tools, make("div", { class: "panes" },
    make("div", { class: "scroll panel" }, make("table", { class: "lens" }, make("thead", {}, head), make("tbody", {}, ...rows))), detail));
  const table = main.querySelector("table");
  rove(table, () => [...table.tBodies[0].rows].map((row) => [...row.querySelectorAll("button")]));
  explain(shown[shown.length - 1], depths - 1, detail);
}

function depthName(depth) {
  return depth === 0 ? "embeddings" : `layer ${depth - 1}`;
}

/** Black or white, whichever stands out more (WCAG 2's luminance). */
function ink(shade) {
  const [r, g, b] = shade.map((x) => x / 255).map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff";
}

function cell(reading, depth, detail) {
  const { top } = reading.depths[depth];
  const [id, probability] = top[0];
  const shade = colour(probability);
  const button = make("button", {
    class: id === reading.answer ? "token answer" : "token", dir: "auto", type: "button",
    style: `background:rgb(${shade});color:${ink(shade)}`,
    title: `${readings.words[id]} ${(probability * 100).toFixed(1)}%`,
    "aria-label": `${readings.words[id]}, ${(probability * 100).toFixed(0)}%, ${depthName(depth)}, after ${tokens[reading.position].label}`,
    onclick: () => explain(reading, depth, detail), onfocus: () => explain(reading, depth, detail),
    onpointerenter: () => explain(reading, depth, detail),
  }, readings.words[id]);
  return make("td", {}, button);
}

function explain(reading, depth, detail) {
  const { top, kl, answer } = reading.depths[depth];
  const word = (id) => make("span", { class: "token", dir: "auto" }, readings.words[id]);
  detail.replaceChildren(
    make("h2", {}, "After ", token(reading.position), ` (${reading.position}), ${depthName(depth)}`),
    make("ol", { class: "bars" }, ...top.map(([id, p]) => bar(word(id), `${(p * 100).toFixed(1)}%`, p))),
    make("dl", { class: "numbers" },
      make("dt", {}, "final answer"), make("dd", {}, word(reading.answer)),
      make("dt", {}, "its probability here"), make("dd", {}, answer.toFixed(4)),
      make("dt", {}, "KL to the final distribution, nats"), make("dd", {}, kl.toFixed(3)),
      make("dt", {}, "answer first likeliest after"), make("dd", {}, depthName(reading.first)),
      make("dt", {}, "and stays so after"), make("dd", {}, depthName(reading.settled))));
}
