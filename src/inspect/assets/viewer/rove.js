// Many buttons, one stop of the Tab key: arrows, Home and End move among them.

/** `grid` gives the buttons of `root` as rows. The current one, or the first, is where Tab stops. */
function rove(root, grid) {
  const all = [...root.querySelectorAll("button")];
  if (!all.length) return;
  all.forEach((button) => { button.tabIndex = -1; });
  let stop = all.find((button) => button.getAttribute("aria-current") || button.getAttribute("aria-pressed") === "true") ?? all[0];
  stop.tabIndex = 0;
  root.addEventListener("focusin", (event) => {
    const button = event.target.closest("button");
    if (!button || !root.contains(button)) return;
    stop.tabIndex = -1;
    button.tabIndex = 0;
    stop = button;
  });
  root.addEventListener("keydown", (event) => {
    const by = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [0, -Infinity], End: [0, Infinity] }[event.key];
    const button = event.target.closest("button");
    if (!by || !button || event.ctrlKey || event.metaKey || event.altKey) return;
    const rows = grid();
    const row = rows.findIndex((one) => one.includes(button));
    if (row < 0) return;
    event.preventDefault();
    const within = (at, length) => Math.min(Math.max(at, 0), length - 1);
    const next = rows[within(row + by[0], rows.length)];
    next[within(rows[row].indexOf(button) + by[1], next.length)].focus();
  });
}
