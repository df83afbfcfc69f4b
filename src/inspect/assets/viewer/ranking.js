// All heads as a table, by any score.

function ranking() {
  const scores = Object.keys(SCORES);
  const by = scores.includes(state.sort) ? state.sort : scores[0];
  const most = Object.fromEntries(scores.map((score) => [score, Math.max(...data.heads.map((head) => head[score]), 1e-9)]));
  const head = scores.map((score) => make("th", { scope: "col", "aria-sort": score === by ? "descending" : undefined },
    make("button", { type: "button", onclick: () => go({ sort: score }) }, SCORES[score])));
  const rows = [...data.heads].sort((a, b) => b[by] - a[by]).slice(0, 500).map((one) => make("tr", {},
    make("td", {}, make("button", { type: "button", onclick: () => go({ view: "map", layer: one.layer, head: one.head }) },
      `${one.layer}.${one.head}`)),
    ...scores.map((score) => make("td", {}, make("i", { style: `width:${(one[score] / most[score]) * 44}px` }), one[score].toFixed(3)))));
  const note = data.period
    ? `Induction, earlier self and nearby are measured on ${data.period} random tokens said twice; the rest on this text.`
    : "Measured on this text.";
  return [make("p", { class: "note" }, note), make("div", { class: "panel scroll" }, make("table", { class: "ranking" },
    make("thead", {}, make("tr", {}, make("th", {}, "head"), ...head)), make("tbody", {}, ...rows)))];
}
