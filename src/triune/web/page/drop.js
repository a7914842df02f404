// A place for pictures: dropped, pasted or chosen. It is a file input with a picture over it, so every keyboard works it.

import { button, make, put } from "./dom.js";
import { openView } from "./tabs.js";

const places = [];

/** A place for one picture, or for several. */
export class Place {
  #pictures = [];
  #input;
  #box;
  #list;
  #hint;
  #name;

  /** `view` is where pastes and stray drops reach it; `changed()` is called when its pictures are others. */
  constructor(parent, { view, title, hint = "Drop, paste or choose", several = false, changed }) {
    Object.assign(this, { view, title, several, changed });
    this.#input = make("input", { type: "file", accept: "image/*,.tif,.tiff,.bmp", multiple: several, "aria-label": `${title}: choose ${several ? "pictures" : "a picture"}` });
    this.#input.addEventListener("change", () => {
      this.add([...this.#input.files]);
      this.#input.value = ""; // so that the same file can be chosen again
    });
    // Browsers open a file input by the space bar; whoever takes it for a button presses Enter.
    this.#input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      this.#input.click();
    });
    this.#name = make("span", { class: "title" });
    this.#hint = make("span", { class: "hint", "aria-live": "polite" });
    this.hint = hint;
    const pick = make("label", { class: "pick" }, this.#input, this.#name, this.#hint);
    this.#list = make("ul", { class: "held", "aria-label": title });
    this.#box = make("div", { class: several ? "drop several" : "drop" }, this.#list, pick);
    for (const kind of ["dragenter", "dragover"]) {
      this.#box.addEventListener(kind, (event) => {
        event.preventDefault();
        this.#box.classList.add("over");
      });
    }
    for (const kind of ["dragleave", "drop"]) this.#box.addEventListener(kind, () => this.#box.classList.remove("over"));
    this.#box.addEventListener("drop", (event) => {
      event.preventDefault();
      event.stopPropagation();
      const files = images(event.dataTransfer);
      if (files.length) spread(files, this);
      else this.#refuse(event.dataTransfer.files);
    });
    parent.append(this.#box);
    places.push(this);
    this.#show();
  }

  /** The files, in order. */
  get files() {
    return this.#pictures.map((each) => each.file);
  }

  /** Addresses of the pictures in the browser's memory, in order. */
  get urls() {
    return this.#pictures.map((each) => each.url);
  }

  get isFull() {
    return !this.several && this.#pictures.length > 0;
  }

  /** Take pictures; a place for one takes the last of them instead of the one it has. */
  add(files, { quietly = false } = {}) {
    if (!files.length) return;
    const more = (this.several ? files : files.slice(-1)).map((file) => ({ file, url: URL.createObjectURL(file) }));
    if (!this.several) this.#forget(this.#pictures);
    this.#pictures = this.several ? [...this.#pictures, ...more] : more;
    this.#show();
    if (!quietly) this.changed();
  }

  /** Be empty. */
  clear() {
    this.#forget(this.#pictures);
    this.#pictures = [];
    this.#show();
    this.changed();
  }

  #remove(picture) {
    this.#forget([picture]);
    this.#pictures = this.#pictures.filter((each) => each !== picture);
    this.#show();
    this.#input.focus(); // what had the focus is gone
    this.changed();
  }

  #refuse([file]) {
    this.#hint.textContent = file ? `${file.name} is no picture` : "That is no picture";
  }

  #forget(pictures) {
    for (const each of pictures) URL.revokeObjectURL(each.url);
  }

  #show() {
    this.#box.classList.toggle("full", this.#pictures.length > 0);
    this.#hint.textContent = this.#pictures.length ? "" : this.hint;
    this.#name.textContent = this.several && this.#pictures.length ? "Add more" : this.title;
    put(this.#list, ...this.#pictures.map((picture) => this.#shown(picture)));
    this.#list.hidden = !this.#pictures.length;
  }

  #shown(picture) {
    const name = picture.file.name;
    const image = make("img", { src: picture.url, alt: name });
    const item = make("li", {}, image, button("×", () => this.#remove(picture), { class: "remove", "aria-label": `Remove ${name}`, title: `Remove ${name}` }));
    image.addEventListener("error", () => image.replaceWith(make("span", { class: "unshown" }, `${name}: this browser cannot show it; the server may read it all the same`)));
    return item;
  }
}

/** Pictures go to the place they were meant for; what it has no room for goes to the view's next free ones. */
function spread(files, place) {
  if (place.several || files.length < 2) return place.add(files);
  const others = places.filter((each) => each.view === place.view && each !== place && !each.isFull);
  [place, ...others].slice(0, files.length).forEach((each, number) => each.add([files[number]]));
}

/** Give pictures to the open view: to the first place with room, or to the last one. */
export function give(files, view = openView()) {
  const own = places.filter((each) => each.view === view);
  if (own.length && files.length) spread(files, own.find((each) => !each.isFull) ?? own.at(-1));
}

/** The image files of a drop or a paste. */
function images(data) {
  return [...(data?.files ?? [])].filter((file) => file.type.startsWith("image/") || /\.(jpe?g|png|bmp|tiff?|webp)$/i.test(file.name));
}

/** Take pastes, and drops that miss every place: the browser would leave the page for them. */
export function startPasting() {
  addEventListener("paste", (event) => {
    const files = images(event.clipboardData);
    if (!files.length) return;
    event.preventDefault();
    give(files);
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    give(images(event.dataTransfer));
  });
}
