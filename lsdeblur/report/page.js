"use strict";

// The viewer: two pictures, one above the other, a border between them, and one zoom for both.
(() => {
  const viewer = document.querySelector(".viewer");
  const handle = viewer.querySelector(".handle");
  const tools = document.querySelector(".tools");
  const scale = tools.querySelector(".scale");
  const one = tools.querySelector("[data-zoom=one]");
  const natural = Number(viewer.dataset.width);
  const FARTHEST = 32;
  let split = 0.5, zoom = 1, left = 0, top = 0;

  viewer.classList.add("live");
  viewer.tabIndex = -1;
  handle.hidden = tools.hidden = false;

  const clamp = (v, low, high) => Math.min(Math.max(v, low), high);
  const perPixel = () => (viewer.clientWidth * zoom) / natural; // screen pixels to one of the picture

  function draw() {
    const { clientWidth: w, clientHeight: h } = viewer;
    left = clamp(left, w * (1 - zoom), 0);
    top = clamp(top, h * (1 - zoom), 0);
    const percent = Math.round(100 * split);
    viewer.style.setProperty("--split", `${100 * split}%`);
    viewer.style.setProperty("--zoom", zoom);
    viewer.style.setProperty("--left", `${left}px`);
    viewer.style.setProperty("--top", `${top}px`);
    viewer.classList.toggle("near", zoom > 1);
    viewer.classList.toggle("close", perPixel() >= 2);
    handle.setAttribute("aria-valuenow", percent);
    handle.setAttribute("aria-valuetext", `${percent} % observed`);
    one.hidden = natural <= w; // it fits larger than that
    scale.textContent = `${Math.round(100 * perPixel())} %`;
  }

  function zoomTo(wanted, x = viewer.clientWidth / 2, y = viewer.clientHeight / 2) {
    const next = clamp(wanted, 1, Math.max(FARTHEST, FARTHEST * natural / viewer.clientWidth));
    left = x - ((x - left) * next) / zoom; // the point (x, y) stays where it is
    top = y - ((y - top) * next) / zoom;
    zoom = next;
    draw();
  }

  const zooms = {
    in: () => zoomTo(zoom * 1.5),
    out: () => zoomTo(zoom / 1.5),
    fit: () => zoomTo(1),
    one: () => zoomTo(natural / viewer.clientWidth),
  };
  tools.addEventListener("click", (event) => zooms[event.target.dataset.zoom]?.());

  function move(to) {
    split = clamp(to, 0, 1);
    draw();
  }

  function shift(x, y) {
    left += x;
    top += y;
    draw();
  }

  viewer.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const border = { ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02 };
    const shifts = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
    const arrow = () => (event.shiftKey ? shift(...shifts[event.key]) : move(split + border[event.key]));
    const actions = {
      ArrowLeft: arrow, ArrowDown: arrow, ArrowRight: arrow, ArrowUp: arrow,
      PageDown: () => move(split - 0.1), PageUp: () => move(split + 0.1),
      Home: () => move(0), End: () => move(1),
      "+": zooms.in, "=": zooms.in, "-": zooms.out, "_": zooms.out, 0: zooms.fit,
    };
    if (!(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  });

  viewer.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !viewer.contains(document.activeElement)) return; // the page scrolls
    event.preventDefault();
    const box = viewer.getBoundingClientRect();
    const lines = event.deltaMode === 1 ? 16 : 1;
    zoomTo(zoom * Math.exp(-event.deltaY * lines / 400), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });

  let held = null; // what a press moves: the border, or the pictures
  let last = null; // where the pointer was
  viewer.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    event.preventDefault();
    handle.focus({ preventScroll: true, focusVisible: false });
    last = event;
    held = event.target === handle || zoom === 1 ? "border" : "pictures";
    viewer.setPointerCapture(event.pointerId);
    viewer.classList.add("held");
    if (held === "border") follow(event);
  });
  function follow(event) {
    const box = viewer.getBoundingClientRect();
    if (held === "border") move((event.clientX - box.left) / box.width);
    else if (held === "pictures") shift(event.clientX - last.clientX, event.clientY - last.clientY);
    last = event;
  }
  viewer.addEventListener("pointermove", follow);
  for (const end of ["pointerup", "pointercancel"]) {
    viewer.addEventListener(end, () => { held = null; viewer.classList.remove("held"); });
  }
  new ResizeObserver(draw).observe(viewer);
  draw();
})();

// The choice of lambda: one value, marked on every chart, with the detail restored at the nearest of the strip.
(() => {
  const source = document.getElementById("data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const section = document.querySelector(".choice");
  const picker = section.querySelector(".picker");
  const range = picker.querySelector("input");
  const reading = picker.querySelector(".reading");
  const marked = section.querySelector(".marked");
  const charts = [...section.querySelectorAll("[data-chart]")].map((figure) => ({
    svg: figure.querySelector("svg"), cursor: figure.querySelector(".cursor"), ...data.charts[figure.dataset.chart],
  }));

  function nearest(list, value) {
    const distance = (v) => Math.abs(Math.log(v / value));
    return list.reduce((best, v, i) => (distance(v) < distance(list[best]) ? i : best), 0);
  }

  function mark(value) {
    const step = nearest(data.steps, value);
    const at = nearest(data.lams, value);
    range.value = step;
    const [label, rest] = data.lams.length ? data.readings[at] : [data.labels[step], ""];
    const words = `${data.symbol} = ${label}`;
    range.setAttribute("aria-valuetext", words);
    reading.textContent = rest ? `${words}: ${rest}` : words;
    if (marked) {
      marked.hidden = false;
      marked.querySelector("img").src = data.pictures[step];
      marked.querySelector("figcaption").textContent = `λ = ${data.labels[step]}, marked`;
    }
    for (const { cursor, points } of charts) {
      const [x, y] = points[at];
      cursor.removeAttribute("hidden");
      const [line, dot] = cursor.children;
      line.setAttribute("transform", `translate(${x} 0)`);
      dot.setAttribute("transform", `translate(${x} ${y ?? 0})`);
      dot.style.display = y === null ? "none" : "";
    }
  }

  function point({ svg, points, along }, event) {
    const box = svg.getBoundingClientRect();
    const unit = svg.viewBox.baseVal.width / box.width;
    const x = (event.clientX - box.left) * unit, y = (event.clientY - box.top) * unit;
    const distance = ([px, py]) => (along === "xy" ? Math.hypot(px - x, (py ?? Infinity) - y) : Math.abs(px - x));
    mark(data.lams[points.reduce((best, p, i) => (distance(p) < distance(points[best]) ? i : best), 0)]);
  }

  for (const chart of charts) {
    chart.svg.addEventListener("pointermove", (event) => point(chart, event));
    chart.svg.addEventListener("pointerdown", (event) => point(chart, event));
  }
  range.addEventListener("input", () => mark(data.steps[range.value]));
  range.addEventListener("focus", () => mark(data.steps[range.value]));
  picker.querySelector(".reset").addEventListener("click", () => mark(data.used));
  picker.hidden = false;
  mark(data.used);
})();

// The code: copied where the browser allows it, selected where it does not.
(() => {
  const button = document.querySelector(".copy");
  const code = document.getElementById("call");
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
})();
