"use strict";
// Reading the curve: the ROC under the pointer, and any other threshold by the slider.
const holder = document.getElementById("curve");
const curve = holder && JSON.parse(holder.textContent);
// As many decimals as it takes to say 0% and 100% only where that is exact.
const percent = (share) => {
  const digits = [1, 2, 3].find((n) => ![0, 100].includes(Number((share * 100).toFixed(n)))) ?? 4;
  return share === 0 || share === 1 ? `${share * 100}%` : `${(share * 100).toFixed(digits)}%`;
};
const axisOf = (chart) => JSON.parse(chart.dataset.axis);
const placed = (axis, value) => {
  const f = axis.log ? Math.log10 : (v) => v;
  const share = (f(value) - f(axis.low)) / (f(axis.high) - f(axis.low));
  return axis.left + Math.min(1, Math.max(0, share)) * axis.width;
};
const upright = (chart, name) => {
  const axis = axisOf(chart), line = document.createElementNS("http://www.w3.org/2000/svg", "line");
  line.setAttribute("class", name);
  line.setAttribute("y1", axis.top);
  line.setAttribute("y2", axis.top + axis.height);
  chart.append(line);
  return (value) => {
    line.style.display = value === null ? "none" : "";
    if (value !== null) for (const end of ["x1", "x2"]) line.setAttribute(end, placed(axis, value));
  };
};
// The last point of the curve for which test(i) holds; points are in order of falling strictness.
const lastPoint = (test) => {
  let low = -1, high = curve.fpr.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (test(middle)) low = middle; else high = middle - 1;
  }
  return low;
};

if (curve && curve.fpr.length) {
  const out = document.getElementById("roc-readout");
  const hint = "Point at the chart to read this model's curve.";
  if (out) out.textContent = hint;
  for (const chart of document.querySelectorAll("svg.roc")) {
    const axis = axisOf(chart), move = upright(chart, "cursor");
    move(null);
    chart.addEventListener("pointermove", (event) => {
      const box = chart.getBoundingClientRect();
      const share = ((event.clientX - box.left) * chart.viewBox.baseVal.width / box.width - axis.left) / axis.width;
      if (share < 0 || share > 1) { move(null); return; }
      const fpr = axis.log ? 10 ** (Math.log10(axis.low) * (1 - share)) : share;
      const i = lastPoint((k) => curve.fpr[k] <= fpr);
      if (i < 0) return;
      move(fpr);
      out.textContent = `With at most ${percent(fpr)} of different pairs accepted, ${percent(curve.tpr[i])} of same pairs are ` +
        `recognised, at a ${curve.name} of at ${curve.closer ? "most" : "least"} ${curve.at[i].toFixed(4)}.`;
    });
    chart.addEventListener("pointerleave", () => { move(null); out.textContent = hint; });
  }
  const explore = document.querySelector(".explore"), chart = document.querySelector("svg.distances");
  if (explore && chart) {
    explore.hidden = false;
    const slider = explore.querySelector("input"), output = explore.querySelector("output");
    const move = upright(chart, "threshold tried");
    const tell = () => {
      const at = Number(slider.value);
      const i = lastPoint((k) => (curve.closer ? curve.at[k] <= at + 1e-6 : curve.at[k] >= at - 1e-6));
      const tpr = i < 0 ? 0 : curve.tpr[i], fpr = i < 0 ? 0 : curve.fpr[i];
      move(at);
      output.innerHTML = `At ${at.toFixed(4)} about <b>${percent(tpr)}</b> of same pairs are recognised and <b>${percent(fpr)}</b> of different pairs wrongly accepted.`;
    };
    slider.addEventListener("input", tell);
    tell();
  }
}

// The embedding map: the image of the dot under the pointer, finger or arrow keys; one identity; all images at once.
for (const map of document.querySelectorAll(".map")) {
  const facts = JSON.parse(map.dataset.facts), plane = map.querySelector(".plane"), tip = map.querySelector(".tip");
  const thumb = tip.querySelector(".thumb"), name = tip.querySelector(".name"), zoom = 96;
  const dots = [...plane.querySelectorAll(".dot")], canvas = map.querySelector("canvas"), button = map.querySelector(".switch");
  const spots = dots.map((dot) => dot.getAttribute("transform").match(/[\d.]+/g).map(Number));
  const side = plane.querySelector("svg").viewBox.baseVal.width;
  let chosen = null, current = -1;
  thumb.style.backgroundSize = `${facts.columns * zoom}px auto`;
  const show = (i) => {
    if (current >= 0) dots[current].classList.remove("on");
    current = i;
    tip.hidden = i < 0;
    if (i < 0) return;
    dots[i].classList.add("on");
    thumb.style.backgroundPosition = `${-(i % facts.columns) * zoom}px ${-Math.floor(i / facts.columns) * zoom}px`;
    name.textContent = facts.names[dots[i].dataset.n];
    const scale = plane.clientWidth / side, x = spots[i][0] * scale, y = spots[i][1] * scale;
    tip.style.left = `${x > plane.clientWidth - 140 ? x - tip.offsetWidth - 12 : x + 12}px`;
    tip.style.top = `${y > plane.clientHeight - 150 ? y - tip.offsetHeight - 12 : y + 12}px`;
  };
  const nearest = (event) => {
    const box = plane.getBoundingClientRect(), scale = side / box.width;
    const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
    let best = -1, least = (14 * scale) ** 2;
    spots.forEach(([a, b], i) => {
      const d = (a - x) ** 2 + (b - y) ** 2;
      if (d < least && (chosen === null || dots[i].dataset.n === chosen)) { best = i; least = d; }
    });
    return best;
  };
  plane.addEventListener("pointermove", (event) => show(nearest(event)));
  plane.addEventListener("pointerdown", (event) => show(nearest(event)));
  plane.addEventListener("pointerleave", () => show(-1));
  plane.addEventListener("blur", () => show(-1));
  plane.addEventListener("keydown", (event) => {
    const step = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.key === "Escape") show(-1);
    if (!step) return;
    event.preventDefault();
    if (current < 0) { show(0); return; }
    // The nearest dot within 45 degrees of the arrow's direction.
    let best = -1, least = Infinity;
    spots.forEach(([a, b], i) => {
      const dx = a - spots[current][0], dy = b - spots[current][1];
      const along = dx * step[0] + dy * step[1], across = Math.abs(dx * step[1]) + Math.abs(dy * step[0]);
      if (along > 0.05 && across <= along && along + across < least) { best = i; least = along + across; }
    });
    if (best >= 0) show(best);
  });
  for (const key of map.querySelectorAll(".names button")) {
    key.addEventListener("click", () => {
      chosen = chosen === key.dataset.n ? null : key.dataset.n;
      show(-1);
      map.classList.toggle("chosen", chosen !== null);
      for (const dot of dots) dot.classList.toggle("same", dot.dataset.n === chosen);
      for (const other of map.querySelectorAll(".names button")) other.setAttribute("aria-pressed", String(other.dataset.n === chosen));
    });
  }
  if (button) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const on = canvas.hidden;
      canvas.hidden = !on;
      button.setAttribute("aria-pressed", String(on));
      button.textContent = on ? "Show dots" : "Show images";
      if (on) paint();
    });
  }
  // Thumbnails where there is room for them, each framed in its identity's colour.
  const paint = () => {
    const sheet = new Image();
    sheet.onload = () => {
      const size = 1440, each = 68, apart = 44, ratio = size / side, pen = canvas.getContext("2d"), taken = [];
      canvas.width = canvas.height = size;
      pen.fillStyle = getComputedStyle(plane).backgroundColor;
      pen.fillRect(0, 0, size, size);
      spots.forEach(([a, b], i) => {
        const x = a * ratio, y = b * ratio;
        if (taken.some(([c, d]) => Math.abs(c - x) < apart && Math.abs(d - y) < apart)) return;
        taken.push([x, y]);
        const left = Math.min(size - each - 4, Math.max(4, x - each / 2)), top = Math.min(size - each - 4, Math.max(4, y - each / 2));
        pen.fillStyle = getComputedStyle(dots[i]).fill;
        pen.fillRect(left - 3, top - 3, each + 6, each + 6);
        pen.drawImage(sheet, (i % facts.columns) * facts.thumb, Math.floor(i / facts.columns) * facts.thumb, facts.thumb, facts.thumb, left, top, each, each);
      });
    };
    sheet.src = map.style.getPropertyValue("--sheet").replace(/^url\(["']?|["']?\)$/g, "");
  };
}

// Which section is being read.
const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    for (const link of links.values()) link.removeAttribute("aria-current");
    const link = links.get(entry.target.id), menu = link.closest("ul");
    link.setAttribute("aria-current", "location");
    // On a phone the menu is wider than the page: the link stays in sight.
    menu.scrollTo({ left: link.offsetLeft - (menu.clientWidth - link.offsetWidth) / 2 });
  }
}, { rootMargin: "-20% 0px -70% 0px" });
for (const key of links.keys()) watcher.observe(document.getElementById(key));
