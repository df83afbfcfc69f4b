// The state of the view, which the address keeps, and what leads from one view to another.

const VIEWS = { wall: "Wall", map: "Map", lines: "Lines", lens: "Lens", heads: "Heads" };
const NUMBERS = ["layer", "head", "query", "key", "from", "threshold"];
const state = { view: "wall", sort: "", threshold: 0.05 };

function read() {
  const kept = new URLSearchParams(location.hash.slice(1));
  for (const name of NUMBERS) {
    const value = Number(kept.get(name));
    state[name] = kept.has(name) && Number.isFinite(value) && value >= 0 ? value : undefined;
  }
  state.threshold ??= 0.05;
  state.view = Object.hasOwn(VIEWS, kept.get("view")) ? kept.get("view") : "wall";
  state.sort = Object.hasOwn(SCORES, kept.get("sort")) ? kept.get("sort") : "";
  if (kept.get("theme")) document.documentElement.dataset.theme = kept.get("theme") === "dark" ? "dark" : "light";
  if (!data.layers.some((layer) => layer.layer === state.layer)) state.layer = undefined;
  if (!headOf(state.layer, state.head)) state.head = undefined;
  for (const name of ["query", "key"]) if (!(state[name] < count)) state[name] = undefined;
  if (state.key > state.query) state.key = undefined;
}

/** Keeps the state in the address, without an entry in the history. */
function keep() {
  const kept = new URLSearchParams();
  for (const [name, value] of Object.entries(state)) {
    if (value !== undefined && value !== "" && !(name === "threshold" && value === 0.05)) kept.set(name, value);
  }
  history.replaceState(null, "", `#${kept}`);
}

let keeping;

/** The same a moment later, for what changes with every move of the pointer: browsers ration it. */
function keepSoon() {
  clearTimeout(keeping);
  keeping = setTimeout(keep, 150);
}

function go(change) {
  clearTimeout(keeping);
  Object.assign(state, change);
  keep();
  show();
}

function sourceName() {
  if (state.layer === undefined) return "all";
  return state.head === undefined ? `l${state.layer}` : `h${state.layer}.${state.head}`;
}

function sourceTitle() {
  if (state.layer === undefined) return "the mean of all heads";
  return state.head === undefined ? `the mean of layer ${state.layer}` : `head ${state.layer}.${state.head}`;
}

/** The selects above the map and the lines. */
function source() {
  const form = document.getElementById("source");
  form.hidden = !["map", "lines"].includes(state.view);
  form.style.display = form.hidden ? "none" : "";
  const option = (value, text, chosen) => make("option", { value, selected: chosen ? "" : undefined }, text);
  document.getElementById("layer").replaceChildren(option("", "all, mean", state.layer === undefined),
    ...data.layers.map(({ layer }) => option(layer, layer, layer === state.layer)));
  const heads = data.heads.filter((head) => head.layer === state.layer);
  document.getElementById("head").replaceChildren(option("", "mean", state.head === undefined),
    ...heads.map(({ head }) => option(head, head, head === state.head)));
  const layer = data.layers.find((one) => one.layer === state.layer);
  const head = headOf(state.layer, state.head);
  const shares = head && layer.n_kv_heads < layer.n_heads ? `; kv head ${head.kv_head}` : "";
  document.getElementById("facts").textContent = layer ? layer.words + shares : "";
}

function step(by) {
  const at = data.heads.indexOf(headOf(state.layer, state.head));
  const next = data.heads[at < 0 ? (by > 0 ? 0 : data.heads.length - 1) : (at + by + data.heads.length) % data.heads.length];
  go({ layer: next.layer, head: next.head });
}

let shows = 0;

async function show() {
  const main = document.getElementById("view");
  const turn = ++shows;
  const focused = main.contains(document.activeElement) ? document.activeElement.dataset.keep ?? "" : undefined;
  document.getElementById("readout").textContent = "";
  for (const tab of document.querySelectorAll("#tabs button")) {
    const chosen = tab.dataset.view === state.view;
    tab.setAttribute("aria-selected", chosen);
    tab.tabIndex = chosen ? 0 : -1;
    if (chosen) main.setAttribute("aria-labelledby", tab.id);
  }
  source();
  try {
    await { wall, map: mapView, lines: linesView, lens: lensView, heads: ranking }[state.view](main, () => turn === shows);
  } catch (error) {
    main.replaceChildren(make("p", { role: "alert" }, `This cannot be shown: ${error.message}`));
  }
  // Whoever was inside the view stays inside it.
  if (focused !== undefined && turn === shows && !main.contains(document.activeElement)) {
    const same = focused && main.querySelector(`[data-keep="${focused}"]`);
    (same || main.querySelector("canvas.map, [aria-current], [tabindex='0']") || main).focus({ preventScroll: !same });
  }
}

function theme() {
  document.documentElement.dataset.theme = dark() ? "light" : "dark";
  state.theme = document.documentElement.dataset.theme;
  keep();
  show();
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select")) return;
  const view = Object.keys(VIEWS)[Number(event.key) - 1];
  if (view) go({ view });
  else if (event.key === "n") step(1);
  else if (event.key === "p") step(-1);
  else if (event.key === "t") theme();
}

function begin() {
  document.documentElement.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  document.getElementById("about").textContent =
    `${data.name} · ${data.layers.length} layers, ${data.heads.length} heads · ${count} tokens: ${tokens.map((one) => one.text).join("")}`;
  document.getElementById("precision").textContent = data.bits === 16
    ? "Weights in this file are exact to 0.00002." : "Weights in this file are exact to 0.004.";
  document.getElementById("tabs").append(...Object.entries(VIEWS).map(([view, name]) => make("button", {
    type: "button", role: "tab", id: `tab-${view}`, "data-view": view, "aria-controls": "view", onclick: () => go({ view }),
  }, name)));
  document.getElementById("tabs").addEventListener("keydown", (event) => {
    const views = Object.keys(VIEWS);
    const at = views.indexOf(state.view);
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    go({ view: views.at(next % views.length) });
    document.querySelector("#tabs [aria-selected=true]").focus();
  });
  const number = (select) => (select.value === "" ? undefined : Number(select.value));
  document.getElementById("layer").addEventListener("change", (event) => go({ layer: number(event.target), head: undefined }));
  document.getElementById("head").addEventListener("change", (event) => go({ head: number(event.target) }));
  document.getElementById("before").addEventListener("click", () => step(-1));
  document.getElementById("after").addEventListener("click", () => step(1));
  document.getElementById("theme").addEventListener("click", theme);
  document.addEventListener("keydown", keys);
  window.addEventListener("hashchange", () => { read(); show(); });
  let waiting;
  window.addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(show, 150); });
  read();
  show();
}

begin();
