/** A pad to draw on, for networks of small grey pictures. */

const SIDE = 256;

export class Pad {
  #canvas;
  #drawing;
  #ink;
  #paper;
  #last = null;

  /** `light`: light ink on dark paper, as the network's pictures are; `rows` x `columns` of the network set the stroke. */
  constructor(canvas, { light, rows, columns }, drawn) {
    this.#canvas = canvas;
    const scale = SIDE / Math.max(rows, columns);
    [canvas.width, canvas.height] = [Math.round(columns * scale), Math.round(rows * scale)];
    this.#drawing = canvas.getContext("2d", { willReadFrequently: true });
    [this.#ink, this.#paper] = light ? ["#ffffff", "#000000"] : ["#000000", "#ffffff"];
    Object.assign(this.#drawing, { lineCap: "round", lineJoin: "round", lineWidth: Math.max(14, 1.1 * Math.min(scale, 28)) });
    canvas.addEventListener("pointerdown", (event) => this.#begin(event));
    canvas.addEventListener("pointermove", (event) => this.#go(event));
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, () => {
        if (this.#last) drawn();
        this.#last = null;
      });
    }
    this.clear();
  }

  get canvas() {
    return this.#canvas;
  }

  clear() {
    this.#drawing.fillStyle = this.#paper;
    this.#drawing.fillRect(0, 0, this.#canvas.width, this.#canvas.height);
  }

  #place({ clientX, clientY }) {
    const box = this.#canvas.getBoundingClientRect();
    const [across, down] = [this.#canvas.width / box.width, this.#canvas.height / box.height];
    return [(clientX - box.left) * across, (clientY - box.top) * down];
  }

  #begin(event) {
    this.#canvas.setPointerCapture(event.pointerId);
    this.#last = this.#place(event);
    this.#go(event);
  }

  #go(event) {
    if (!this.#last) return;
    this.#drawing.strokeStyle = this.#ink;
    this.#drawing.beginPath();
    this.#drawing.moveTo(...this.#last);
    for (const each of placesOf(event)) {
      this.#last = this.#place(each);
      this.#drawing.lineTo(...this.#last);
    }
    this.#drawing.stroke();
  }
}

/** A slow device hands several places of a pointer over at once: all of them are on the line. */
function placesOf(event) {
  const all = event.getCoalescedEvents?.() ?? [];
  return all.length ? all : [event];
}
