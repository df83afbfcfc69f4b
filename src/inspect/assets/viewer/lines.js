// Tokens twice, as queries and as keys, with lines from who looks to what is looked at.

const ROW = 22;
/** With more tokens than this, only the chosen one's lines are drawn. */
const ALL_LINES = 120;

/** A line in a box 100 wide, which the page stretches. */
function wire(query, key, weight, strong) {
  const [from, to] = [query * ROW + ROW / 2, key * ROW + ROW / 2];
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", `M0 ${from}C50 ${from} 50 ${to} 100 ${to}`);
  path.setAttribute("stroke-width", (0.6 + weight * (strong ? 7 : 3)).toFixed(2));
  path.setAttribute("stroke-opacity", (strong ? 0.25 + 0.75 * weight : 0.06 + 0.5 * weight).toFixed(3));
  return path;
}

async function linesView(main, wanted) {
  const map = await weights(sourceName());
  if (!wanted()) return;
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("viewBox", `0 0 100 ${count * ROW}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.style.height = `${count * ROW}px`;
  const list = (side) => make("ol", { class: side, "aria-label": side === "queries" ? "Who looks" : "At what" },
    ...tokens.map((_, at) => make("li", {}, make("button", {
      type: "button", "aria-pressed": false, "data-at": at,
      onpointerenter: () => hover(side, at), onfocus: () => hover(side, at),
      onclick: () => pin(side, at),
    }, token(at)))));
  const queries = list("queries");
  const keys = list("keys");
  const threshold = make("input", { type: "range", min: 0, max: 0.5, step: 0.01, value: state.threshold,
    oninput: () => { state.threshold = Number(threshold.value); keepSoon(); draw(); } });
  const label = make("output", {});
  const tools = make("div", { class: "tools" },
    make("label", {}, "Lines from ", threshold, " ", label),
    make("span", { class: "note" }, "Left: who looks. Right: at what. Point at a token, or choose it to keep it."));
  const box = make("div", { class: "lines", onpointerleave: () => { over = undefined; draw(); } }, queries, svg, keys);
  main.replaceChildren(tools, box);
  const buttons = (list) => [...list.querySelectorAll("button")];
  rove(box, () => buttons(queries).map((button, at) => [button, buttons(keys)[at]]));

  let over;
  const one = (side) => (side === "queries" ? "query" : "key");
  const other = (side) => (side === "queries" ? "key" : "query");
  const pin = (side, at) => {
    const off = state[one(side)] === at && state[other(side)] === undefined;
    state[other(side)] = undefined;
    state[one(side)] = off ? undefined : at;
    keep();
    draw();
  };
  const hover = (side, at) => { over = { side, at }; draw(); };

  function chosen() {
    if (over) return over;
    if (state.query !== undefined) return { side: "queries", at: state.query };
    return state.key !== undefined ? { side: "keys", at: state.key } : undefined;
  }

  function draw() {
    const pick = chosen();
    const paths = [];
    const shade = { queries: new Float32Array(count), keys: new Float32Array(count) };
    for (let query = 0; query < count; query++) {
      for (let key = 0; key <= query; key++) {
        const weight = map.at(query, key);
        const strong = pick && (pick.side === "queries" ? query : key) === pick.at;
        if (strong && pick.side === "queries") shade.keys[key] = weight;
        if (strong && pick.side === "keys") shade.queries[query] = weight;
        if (weight < Math.max(state.threshold, 0.005) || !(strong || (!pick && count <= ALL_LINES))) continue;
        paths.push(wire(query, key, weight, strong));
      }
    }
    svg.replaceChildren(...paths);
    svg.dataset.lines = paths.length;
    label.textContent = digits(state.threshold);
    for (const [side, list] of [["queries", queries], ["keys", keys]]) {
      for (const button of list.querySelectorAll("button")) {
        const at = Number(button.dataset.at);
        const weight = shade[side][at];
        button.setAttribute("aria-pressed", Boolean(pick && pick.side === side && pick.at === at));
        button.style.backgroundColor = weight > 0 ? `rgba(var(--wire), ${(0.85 * Math.sqrt(weight)).toFixed(3)})` : "";
        button.title = weight > 0 ? digits(weight) : "";
      }
    }
    tell(pick);
  }

  function tell(pick) {
    const text = (weight, at) => `${tokens[at].label} ${digits(weight)}`;
    if (!pick) return void (document.getElementById("readout").textContent = "");
    const all = tokens.map((_, at) => (pick.side === "queries" ? map.at(pick.at, at) : map.at(at, pick.at)));
    const top = all.map((weight, at) => [weight, at]).sort((a, b) => b[0] - a[0]).slice(0, 4).filter(([w]) => w >= 0.005);
    const verb = pick.side === "queries" ? "looks at" : "is looked at by";
    document.getElementById("readout").textContent =
      `${tokens[pick.at].label} ${verb} ${top.map(([weight, at]) => text(weight, at)).join(", ") || "nobody much"}`;
  }

  draw();
}
