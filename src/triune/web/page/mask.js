// A mask of ids laid over its picture in colours.

// The colours of triune predict --overlays (triune.serving.written), from id 1 on; then they come around again.
const COLOURS = [[230, 60, 20], [20, 120, 230], [30, 170, 80], [230, 170, 20], [150, 60, 200]];
const UNSEEN = 255;
const MOST_SHOWN = 12;

/** The colour of a mask id as CSS writes it. */
export const colourOf = (id) => (id === UNSEEN ? "rgb(0, 0, 0)" : `rgb(${COLOURS[(id - 1) % COLOURS.length].join(", ")})`);

/** Show a picture with its mask, base64 of a PNG of ids, on the canvas over it; answers which ids there are. */
export async function layOver(image, canvas, url, base64, names) {
  image.src = url;
  const ids = await createImageBitmap(await blobOf(base64), { colorSpaceConversion: "none" });
  Object.assign(canvas, { width: ids.width, height: ids.height });
  canvas.parentElement.style.setProperty("--ratio", ids.width / ids.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(ids, 0, 0);
  const pixels = context.getImageData(0, 0, ids.width, ids.height);
  const seen = new Set();
  for (let at = 0; at < pixels.data.length; at += 4) {
    const id = pixels.data[at];
    const colour = id === UNSEEN ? [0, 0, 0] : COLOURS[(id - 1) % COLOURS.length];
    if (id) {
      seen.add(id);
      pixels.data.set(colour, at);
    }
    pixels.data[at + 3] = id ? 255 : 0;
  }
  context.putImageData(pixels, 0, 0);
  const named = [...seen].sort((a, b) => a - b).slice(0, MOST_SHOWN);
  return named.map((id) => ({ id, colour: colourOf(id), name: nameOf(id, names, seen) }));
}

function nameOf(id, names, seen) {
  if (id === UNSEEN) return "not seen by the model";
  const known = Array.isArray(names) ? names[id] : names?.[id];
  return known ?? (seen.size === 1 ? "what the mask marks" : `part ${id}`);
}

async function blobOf(base64) {
  const text = atob(base64);
  return new Blob([Uint8Array.from(text, (letter) => letter.charCodeAt(0))], { type: "image/png" });
}
