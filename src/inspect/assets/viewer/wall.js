// All heads as thumbnails, by layer or by what they do.

const SCORES = Object.fromEntries(Object.entries({
  induction: "induction", duplicate: "earlier self", local: "nearby", previous: "token before", first: "first token",
  self: "itself", entropy: "spread", distance: "distance",
}).filter(([score]) => data.heads[0][score] !== undefined));

const thumbs = new Map();

/** A layer's thumbnails, one after another. */
function thumbsOf(layer) {
  if (!thumbs.has(layer)) thumbs.set(layer, bytes(`thumbs-${layer}`));
  return thumbs.get(layer);
}

async function drawThumb(canvas, head) {
  const packed = await thumbsOf(head.layer);
  const side = data.thumb;
  const place = data.heads.filter((one) => one.layer === head.layer).indexOf(head);
  const image = new ImageData(side, side);
  for (let at = 0; at < side * side; at++) {
    const level = packed[place * side * side + at] / 255;
    image.data.set([...colour(level * level), 255], at * 4);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((one) => one.isIntersecting)) {
    seen.unobserve(entry.target);
    drawThumb(entry.target, entry.target.shows);
  }
}, { rootMargin: "300px" });

function thumb(head, caption) {
  const canvas = make("canvas", { width: data.thumb, height: data.thumb });
  canvas.shows = head;
  seen.observe(canvas);
  const name = `${head.layer}.${head.head}`;
  const says = caption === undefined ? "" : `, ${SCORES[caption]} ${head[caption].toFixed(2)}`;
  const shown = state.layer === head.layer && state.head === head.head;
  const label = caption && make("span", {}, name, make("b", {}, head[caption].toFixed(2)));
  return make("button", {
    class: "thumb", type: "button", title: `head ${name}${says}`, "aria-label": `Head ${name}${says}`,
    "aria-current": shown, onclick: () => go({ view: "map", layer: head.layer, head: head.head }),
  }, canvas, label);
}

/** A layer's row: heads that share a key-value head stand together. */
function layerRow(layer) {
  const heads = data.heads.filter((head) => head.layer === layer.layer);
  const groups = [...new Set(heads.map((head) => head.kv_head))];
  const each = groups.map((group) => {
    const sharing = heads.filter((head) => head.kv_head === group).map((head) => thumb(head));
    return layer.n_kv_heads < layer.n_heads ? make("div", { class: "group" }, ...sharing) : sharing;
  });
  const reach = layer.window ? make("small", {}, `window ${layer.window}`) : undefined;
  const name = make("div", { class: "wall-name" }, `layer ${layer.layer}`, reach);
  return make("div", { class: "wall-row" }, name, ...each.flat());
}

function wall() {
  const options = [["", "layer"], ...Object.entries(SCORES)].map(([value, name]) =>
    make("option", { value, selected: state.sort === value }, name));
  const sort = make("select", { onchange: () => go({ sort: sort.value }) }, ...options);
  const tools = make("div", { class: "tools" }, make("label", {}, "Sort by ", sort),
    make("span", { class: "note" }, "Queries run down, keys to the right. Heads joined by a line share keys and values."));
  if (!state.sort) {
    const many = data.heads.length > 600 ? "wall many" : "wall";
    return [tools, make("div", { class: many }, ...data.layers.map(layerRow))];
  }
  const sorted = [...data.heads].sort((a, b) => b[state.sort] - a[state.sort]);
  return [tools, make("div", { class: "wall-flow" }, ...sorted.map((head) => thumb(head, state.sort)))];
}
