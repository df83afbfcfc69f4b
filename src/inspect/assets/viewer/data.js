// What the file holds, and the way from its packed maps to weights.

const data = JSON.parse(document.getElementById("data").textContent);
const tokens = data.tokens;
const count = tokens.length;

/** The bytes of a blob: base64, deflated unless it says that it is not. */
async function bytes(id) {
  const blob = document.getElementById(id);
  const packed = Uint8Array.from(atob(blob.textContent.trim()), (c) => c.charCodeAt(0));
  if (blob.dataset.raw !== undefined) return packed;
  if (!("DecompressionStream" in window)) {
    throw new Error("this browser cannot inflate; one of 2023 or later can");
  }
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Weights of a square whose upper half is the future, row after row. */
class Weights {
  constructor(packed) {
    const cells = (count * (count + 1)) / 2;
    const most = data.bits === 16 ? 65535 : 255;
    this.values = new Float32Array(cells);
    for (let at = 0; at < cells; at++) {
      const level = data.bits === 16 ? packed[at] * 256 + packed[cells + at] : packed[at];
      this.values[at] = (level / most) ** 2;
    }
  }

  at(query, key) {
    return key > query ? 0 : this.values[(query * (query + 1)) / 2 + key];
  }
}

const held = new Map();

/** The weights of "all", "l3" (a layer's mean) or "h3.1" (a head); the last few stay unpacked. */
function weights(name) {
  if (!held.has(name)) {
    held.set(name, bytes(`map-${name}`).then((packed) => new Weights(packed)));
    if (held.size > 12) held.delete(held.keys().next().value);
  }
  return held.get(name);
}

/** A weight in as many digits as are true. */
function digits(weight) {
  return weight.toFixed(data.bits === 16 ? 3 : 2);
}

/** The colour of a weight: its square root along the stops of the theme. */
function colour(weight) {
  const stops = data.colours[dark() ? "night" : "paper"];
  const along = Math.sqrt(Math.min(Math.max(weight, 0), 1)) * (stops.length - 1);
  const at = Math.min(Math.floor(along), stops.length - 2);
  return stops[at].map((a, i) => Math.round(a + (stops[at + 1][i] - a) * (along - at)));
}

/** The colours of the 256 levels of a thumbnail or a coarse map, as the theme has them. */
function palette() {
  const name = dark() ? "night" : "paper";
  palettes[name] ??= Array.from({ length: 256 }, (_, level) => [...colour((level / 255) ** 2), 255]);
  return palettes[name];
}

const palettes = {};

function dark() {
  return document.documentElement.dataset.theme === "dark";
}

/** An element; text is text whatever it holds. */
function make(tag, settings = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(settings)) {
    if (key === "class") element.className = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== false && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== undefined));
  return element;
}

function token(at) {
  return make("span", { class: "token", dir: "auto" }, tokens[at].label);
}

function headOf(layer, head) {
  return data.heads.find((one) => one.layer === layer && one.head === head);
}
