// What each layer would say next, position by position.

const SHOWN = 16;
let readings;

async function lensView(main) {
  readings ??= JSON.parse(new TextDecoder().decode(await bytes("lens")));
  const start = Math.min(Math.max(state.from ?? count - SHOWN, 0), Math.max(count - SHOWN, 0));
  const shown = readings.positions.slice(start, start + SHOWN);
  const page = (by, text) => make("button", {
    type: "button", disabled: start + by < 0 || start + by >= count ? "" : undefined, onclick: () => go({ from: start + by }),
  }, text);
  const tools = make("div", { class: "tools" }, page(-SHOWN, "‹ earlier"), page(SHOWN, "later ›"),
    make("span", { class: "note" }, "Each cell: the likeliest next token if the model ended there, in the colour of its probability; framed where it is the final answer."));
  const detail = make("aside", { class: "panel", id: "lens-detail" });
  const head = make("tr", {}, make("th", {}, "after"), ...shown.map((one) => make("th", { scope: "col" }, token(one.position))));
  const depths = shown[0].depths.length;
  const rows = Array.from({ length: depths }, (_, i) => depths - 1 - i).map((depth) =>
    make("tr", {}, make("th", { scope: "row" }, depthName(depth)), ...shown.map((one) => cell(one, depth, detail))));
  main.replaceChildren(tools, make("div", { class: "panes" },
    make("div", { class: "scroll panel" }, make("table", { class: "lens" }, make("thead", {}, head), make("tbody", {}, ...rows))), detail));
  explain(shown[shown.length - 1], depths - 1, detail);
}

function depthName(depth) {
  return depth === 0 ? "embeddings" : `layer ${depth - 1}`;
}

function cell(reading, depth, detail) {
  const { top } = reading.depths[depth];
  const [id, probability] = top[0];
  const shade = colour(probability);
  const light = shade[0] * 0.3 + shade[1] * 0.6 + shade[2] * 0.1 > 140;
  const button = make("button", {
    class: id === reading.answer ? "token answer" : "token", dir: "auto", type: "button",
    style: `background:rgb(${shade});color:${light ? "#111" : "#fff"}`,
    title: `${readings.words[id]} ${(probability * 100).toFixed(1)}%`,
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
