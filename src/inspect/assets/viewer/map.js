// One head, enlarged: the map, its numbers, and what the chosen query looks at.

const LETTER = 7.2;

/** Where things are in a map of this width. */
function layout(width) {
  const longest = Math.min(Math.max(...tokens.map((one) => one.label.length)), 14);
  const named = Math.floor((Math.min(width, 900) - longest * LETTER - 10) / count) >= 11;
  const room = named ? Math.ceil(longest * LETTER) + 10 : 34;
  // Whole pixels a cell where that wastes little; a long text fills the width.
  const free = Math.min(width, 900, Math.max(window.innerHeight - 170, 420)) - room - 2;
  const cell = Math.min(Math.floor(free / count), 40);
  return { named, room, side: cell < 4 ? free : cell * count };
}

/** The map itself, a pixel a cell: drawn once for a head and a theme. */
function cellsOf(map) {
  const style = getComputedStyle(document.documentElement);
  const future = style.getPropertyValue("--future").match(/[0-9a-f]{2}/gi).map((x) => parseInt(x, 16)).concat(255);
  const shades = palette();
  const image = new ImageData(count, count);
  let to = 0;
  for (let query = 0; query < count; query++) {
    for (let key = 0; key < count; key++) {
      const shade = key <= query ? shades[Math.round(Math.sqrt(map.at(query, key)) * 255)] : future;
      image.data.set(shade, to);
      to += 4;
    }
  }
  const cells = make("canvas", { width: count, height: count });
  cells.getContext("2d").putImageData(image, 0, 0);
  return cells;
}

function drawMap(canvas, cells, place) {
  const { named, room, side } = place;
  const ratio = window.devicePixelRatio || 1;
  const width = room + side + 2;
  const pixels = Math.round(width * ratio);
  if (canvas.width !== pixels) {
    canvas.width = pixels;
    canvas.height = pixels;
    canvas.style.width = `${width}px`;
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, width);
  const style = getComputedStyle(document.documentElement);
  pen.imageSmoothingEnabled = side < count;
  pen.drawImage(cells, room, room, side, side);
  axes(pen, style, named, room, side / count);
  mark(pen, style, room, side / count);
}

function axes(pen, style, named, room, cell) {
  pen.font = "12px ui-monospace, Menlo, Consolas, monospace";
  pen.textBaseline = "middle";
  const step = named ? 1 : Math.ceil(count / 10);
  for (let at = 0; at < count; at += step) {
    const text = named ? shortened(tokens[at].label, 14) : String(at);
    const middle = room + (at + 0.5) * cell;
    pen.fillStyle = style.getPropertyValue(at === state.query || at === state.key ? "--accent" : "--soft");
    pen.textAlign = "right";
    pen.fillText(text, room - 6, middle);
    pen.save();
    pen.translate(middle, room - 6);
    pen.rotate(-Math.PI / 2);
    pen.textAlign = "left";
    pen.fillText(text, 0, 0);
    pen.restore();
  }
}

/** The chosen cell, and its row. */
function mark(pen, style, room, cell) {
  if (state.query === undefined) return;
  pen.strokeStyle = style.getPropertyValue("--accent");
  pen.lineWidth = 1.5;
  pen.strokeRect(room, room + state.query * cell, (state.query + 1) * cell, cell);
  if (state.key !== undefined) {
    pen.strokeRect(room + state.key * cell, room + state.query * cell, cell, cell);
  }
}

function shortened(text, most) {
  const letters = [...text];
  return letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : text;
}

function bar(label, value, share = value) {
  const name = typeof label === "string" ? make("span", {}, label) : label;
  return make("li", {}, name, make("i", { style: `width:${Math.min(share, 1) * 100}%` }),
    make("b", {}, typeof value === "number" ? digits(value) : value));
}

/** What the chosen query looks at most. */
function looks(map, query) {
  const row = Array.from({ length: query + 1 }, (_, key) => [key, map.at(query, key)]);
  const top = row.sort((a, b) => b[1] - a[1]).slice(0, 8).filter(([, weight]) => weight > 0);
  return [
    make("h2", {}, token(query), ` (${query}) looks at`),
    make("ol", { class: "bars", id: "looks" }, ...top.map(([key, weight]) => bar(token(key), weight))),
  ];
}

function numbers(head) {
  if (!head) return [];
  const rows = [
    ["entropy, nats", head.entropy], ["on the first token", head.first], ["on the token before", head.previous],
    ["on itself", head.self], ["mean distance", head.distance],
    ...(head.sink_weight > 0 ? [["on the learned sink", head.sink_weight]] : []),
    ...["induction", "duplicate"].map((score) => [`${score} score`, head[score]]),
  ].filter(([, value]) => value !== undefined);
  const share = Math.max(...head.histogram);
  const bins = head.histogram.map((mass, at) => {
    const from = at === 0 ? 0 : 2 ** (at - 1);
    return bar(at < 2 ? `${from} back` : `${from}–${2 ** at - 1} back`, mass, mass / share);
  });
  return [
    make("h2", {}, `Head ${head.layer}.${head.head}`),
    make("dl", { class: "numbers", id: "numbers" },
      ...rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value.toFixed(3))])),
    make("h2", {}, "How far back it looks"), make("ol", { class: "bars" }, ...bins),
  ];
}

async function mapView(main, wanted) {
  const map = await weights(sourceName());
  if (!wanted()) return;
  const canvas = make("canvas", { class: "map", tabindex: 0, role: "application", "data-keep": "map",
    "aria-label": `Weights of ${sourceTitle()}: arrow keys move from cell to cell`, "aria-describedby": "readout" });
  const fixed = make("div", {}, ...numbers(headOf(state.layer, state.head)));
  const row = make("div", {});
  main.replaceChildren(make("div", { class: "panes" }, make("div", {}, canvas), make("aside", { class: "panel", "aria-label": "Numbers" }, fixed, row)));
  const place = layout(canvas.parentElement.clientWidth);
  const cells = cellsOf(map);
  let shown;
  const show = () => {
    drawMap(canvas, cells, place);
    const query = state.query ?? count - 1;
    if (query !== shown) row.replaceChildren(...looks(map, query));
    shown = query;
    if (state.query !== undefined) say(map, state.query, state.key);
  };
  let asked = false;
  const choose = (query, key) => {
    const [q, k] = [Math.min(Math.max(query, 0), count - 1), Math.max(key, 0)];
    if (state.query === q && state.key === Math.min(k, q)) return;
    state.query = q;
    state.key = Math.min(k, q);
    keepSoon();
    // However fast the pointer moves, the screen is drawn once a frame.
    if (!asked) requestAnimationFrame(() => { asked = false; if (canvas.isConnected) show(); });
    asked = true;
  };
  const point = (event) => {
    const cell = place.side / count;
    const shrunk = (place.room + place.side + 2) / canvas.clientWidth;
    const at = (offset) => Math.floor((offset * shrunk - place.room) / cell);
    const [query, key] = [at(event.offsetY), at(event.offsetX)];
    if (key >= 0 && key <= query && query < count) choose(query, key);
  };
  canvas.addEventListener("pointermove", point);
  canvas.addEventListener("pointerdown", point);
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [0, -count], End: [0, count] }[event.key];
    if (!step) return;
    event.preventDefault();
    choose((state.query ?? count - 1) + step[0], (state.key ?? state.query ?? count - 1) + step[1]);
  });
  show();
}

/** One weight in words, for everyone. */
function say(map, query, key) {
  const text = key === undefined ? "" :
    `${tokens[query].label} (${query}) looks at ${tokens[key].label} (${key}): ${digits(map.at(query, key))}`;
  document.getElementById("readout").textContent = text;
}
