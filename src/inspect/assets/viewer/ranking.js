// All heads as a table, by any score.

/** Rows drawn; a table of more is nobody's. */
const RANKED = 500;

function ranking(main) {
  const scores = Object.keys(SCORES);
  const by = scores.includes(state.sort) ? state.sort : scores[0];
  const most = Object.fromEntries(scores.map((score) => [score, Math.max(...data.heads.map((head) => head[score]), 1e-9)]));
  const head = scores.map((score) => make("th", { scope: "col", "aria-sort": score === by ? "descending" : undefined },
    make("button", { type: "button", "data-keep": score, onclick: () => go({ sort: score }) }, SCORES[score])));
  const rows = [...data.heads].sort((a, b) => b[by] - a[by]).slice(0, RANKED).map((one) => {
    const here = one.layer === state.layer && one.head === state.head;
    const name = `${one.layer}.${one.head}`;
    const button = make("button", { type: "button", "aria-label": `Head ${name}`, "aria-current": here ? "true" : undefined,
      onclick: () => go({ view: "map", layer: one.layer, head: one.head }) }, name);
    return make("tr", {}, make("th", { scope: "row" }, button), ...scores.map((score) =>
      make("td", {}, make("i", { style: `width:${(one[score] / most[score]) * 44}px` }), one[score].toFixed(3))));
  });
  const measured = data.period
    ? `Induction, earlier self and nearby are measured on ${data.period} random tokens said twice; the rest on this text.`
    : "Measured on this text.";
  const more = data.heads.length > RANKED ? ` The first ${RANKED} of ${data.heads.length} heads.` : "";
  const body = make("tbody", {}, ...rows);
  main.replaceChildren(make("p", { class: "note" }, measured + more), make("div", { class: "panel scroll" },
    make("table", { class: "ranking" }, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "head"), ...head)), body)));
  rove(body, () => rows.map((row) => [row.querySelector("button")]));
}
