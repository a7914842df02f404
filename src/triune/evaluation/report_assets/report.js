// The embedding map: the image of the dot under the pointer, or under the finger.
for (const map of document.querySelectorAll(".map")) {
  const tip = map.querySelector(".tip"), thumb = tip.querySelector(".thumb"), name = tip.querySelector(".name");
  const columns = Number(map.dataset.columns), zoom = 80;
  thumb.style.backgroundSize = `${columns * zoom}px auto`;
  const show = (event) => {
    const dot = event.target.closest("circle");
    tip.hidden = !dot;
    if (!dot) return;
    const i = Number(dot.dataset.i), box = map.getBoundingClientRect(), at = dot.getBoundingClientRect();
    thumb.style.backgroundPosition = `${-(i % columns) * zoom}px ${-Math.floor(i / columns) * zoom}px`;
    name.textContent = dot.dataset.n;
    const x = at.left - box.left, y = at.top - box.top;
    tip.style.left = `${x > box.width - 120 ? x - 104 : x + 14}px`;
    tip.style.top = `${y > box.height - 130 ? y - 120 : y + 14}px`;
  };
  map.addEventListener("pointermove", show);
  map.addEventListener("pointerdown", show);
  map.addEventListener("pointerleave", () => { tip.hidden = true; });
}
