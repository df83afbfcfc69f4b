// All heads as thumbnails, by layer or by what they do.

const SCORES = Object.fromEntries(Object.entries({
  induction: "induction", duplicate: "earlier self", local: "nearby", previous: "token before", first: "first token",
  self: "itself", entropy: "spread", distance: "distance",
}).filter(([score]) => data.heads[0][score] !== undefined));

const thumbs = new Map();

/** Each layer's heads, in order; a head's place is its number among them. */
const headsOf = new Map(data.layers.map(({ layer }) => [layer, []]));
for (const head of data.heads) {
  head.place = headsOf.get(head.layer).length;
  headsOf.get(head.layer).push(head);
}

/** A layer's thumbnails, one after another. */
function thumbsOf(layer) {
  if (!thumbs.has(layer)) thumbs.set(layer, bytes(`thumbs-${layer}`));
  return thumbs.get(layer);
}

const sheet = new CSSStyleSheet();
document.adoptedStyleSheets.push(sheet);
const drawn = new Set();

/** A layer's thumbnails as one picture, which its buttons each show a part of: of four thousand heads that is
    four thousand backgrounds of few pictures, not as many canvases. */
async function picture(layer) {
  const theme = document.documentElement.dataset.theme;
  if (drawn.has(`${theme} ${layer}`)) return;
  drawn.add(`${theme} ${layer}`);
  const shades = palette();
  const packed = await thumbsOf(layer);
  const [side, heads] = [data.thumb, headsOf.get(layer).length];
  const image = new ImageData(side * heads, side);
  for (let at = 0; at < packed.length; at++) {
    const [place, row, column] = [Math.floor(at / (side * side)), Math.floor(at / side) % side, at % side];
    image.data.set(shades[packed[at]], 4 * ((row * heads + place) * side + column));
  }
  const canvas = make("canvas", { width: image.width, height: side });
  canvas.getContext("2d").putImageData(image, 0, 0);
  sheet.insertRule(`[data-theme="${theme}"] .of-${layer} { background-image: url(${canvas.toDataURL()}); background-size: ${heads * 100}% 100%; }`);
}

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((one) => one.isIntersecting)) {
    seen.unobserve(entry.target);
    for (const layer of entry.target.layers) picture(layer);
  }
}, { rootMargin: "600px" });

/** A head in words, for whoever does not see its picture. */
function inWords(head) {
  const shares = [["the token before", head.previous], ["the first token", head.first], ["itself", head.self]];
  return shares.map(([on, share]) => `${Math.round(share * 100)}% on ${on}`).join(", ");
}

function thumb(head, caption) {
  const last = headsOf.get(head.layer).length - 1;
  const part = make("i", { class: `of-${head.layer}`, style: `background-position-x: ${last ? (head.place / last) * 100 : 0}%` });
  const name = `${head.layer}.${head.head}`;
  const says = caption === undefined ? inWords(head) : `${SCORES[caption]} ${head[caption].toFixed(2)}`;
  const shown = state.layer === head.layer && state.head === head.head;
  const label = caption && make("span", { "aria-hidden": "true" }, name, make("b", {}, head[caption].toFixed(2)));
  return make("button", {
    class: "thumb", type: "button", title: `head ${name}: ${says}`, "aria-label": `Head ${name}: ${says}`,
    "aria-current": shown ? "true" : undefined, onclick: () => go({ view: "map", layer: head.layer, head: head.head }),
  }, part, label);
}

/** A layer's row: heads that share a key-value head stand together. */
function layerRow(layer) {
  const heads = headsOf.get(layer.layer);
  const groups = [...new Set(heads.map((head) => head.kv_head))];
  const each = groups.map((group) => {
    const sharing = heads.filter((head) => head.kv_head === group).map((head) => thumb(head));
    return layer.n_kv_heads < layer.n_heads ? make("div", { class: "group" }, ...sharing) : sharing;
  });
  const reach = layer.window ? make("small", {}, `window ${layer.window}`) : undefined;
  const name = make("div", { class: "wall-name", "data-short": layer.layer }, `layer ${layer.layer}`, reach);
  const row = make("div", { class: "wall-row", role: "group", "aria-label": `Layer ${layer.layer}: ${layer.words}` }, name, ...each.flat());
  row.layers = [layer.layer];
  seen.observe(row);
  return row;
}

/** A thumbnail's side: a layer fits into the page's width, down to what a finger can hit. */
function thumbSide(width) {
  const heads = Math.max(...data.layers.map((layer) => layer.n_heads));
  const groups = Math.max(...data.layers.map((layer) => (layer.n_kv_heads < layer.n_heads ? layer.n_kv_heads : 0)));
  const room = width - (width < 700 ? 42 : 72) - 5 * groups;
  const most = Math.min(Math.max(Math.floor(700 / data.layers.length), 62), 96);
  return Math.min(Math.max(Math.floor(room / heads) - 5, 22), most);
}

function wall(main) {
  const options = [["", "layer"], ...Object.entries(SCORES)].map(([value, name]) =>
    make("option", { value, selected: state.sort === value ? "" : undefined }, name));
  const sort = make("select", { "data-keep": "sort", onchange: () => go({ sort: sort.value }) }, ...options);
  const tools = make("div", { class: "tools" }, make("label", {}, "Sort by ", sort),
    make("span", { class: "note" }, "Queries run down, keys to the right. Heads joined by a line share keys and values."));
  const side = thumbSide(main.clientWidth);
  if (!state.sort) {
    const rows = data.layers.map(layerRow);
    main.replaceChildren(tools, make("div", { class: "wall", style: `--thumb:${side}px` }, ...rows));
    rove(main.lastChild, () => rows.map((row) => [...row.querySelectorAll(".thumb")]));
    return;
  }
  const sorted = [...data.heads].sort((a, b) => b[state.sort] - a[state.sort]).map((head) => thumb(head, state.sort));
  main.replaceChildren(tools, make("div", { class: "wall-flow" }, ...sorted));
  main.lastChild.layers = [...headsOf.keys()];
  seen.observe(main.lastChild);
  rove(main.lastChild, () => {
    const across = Math.max(sorted.findIndex((one) => one.offsetTop > sorted[0].offsetTop), 0) || sorted.length;
    return Array.from({ length: Math.ceil(sorted.length / across) }, (_, row) => sorted.slice(row * across, (row + 1) * across));
  });
}
