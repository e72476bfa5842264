/** Pictures from a camera, once the person allows it. */

const REASONS = {
  NotAllowedError: "the camera was not allowed; allow it in the browser's settings of this page, or use files",
  NotFoundError: "this device has no camera; use files",
  NotReadableError: "another program uses the camera; close that, or use files",
  AbortError: "the camera did not start; try again, or use files",
};

export class Camera {
  #video;
  #ended;
  #stream = null;

  /** `ended` is called where the system takes the camera away, as it may while the page is out of sight. */
  constructor(video, ended) {
    [this.#video, this.#ended] = [video, ended];
  }

  get on() {
    return this.#stream !== null;
  }

  /** Throws in words where there is none, or where it is denied. */
  async start() {
    if (!navigator.mediaDevices) throw new Error("the browser gives a page opened this way no camera; use files");
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch (error) {
      throw new Error(REASONS[error.name] ?? `the camera cannot be used: ${error.message}`);
    }
    for (const track of this.#stream.getTracks()) track.addEventListener("ended", () => this.#taken());
    this.#video.srcObject = this.#stream;
    await this.#video.play();
  }

  stop() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
    this.#video.srcObject = null;
  }

  #taken() {
    this.stop();
    this.#ended();
  }

  /** The picture of this moment; a canvas, as the video goes on. */
  take() {
    const { videoWidth, videoHeight } = this.#video;
    const canvas = new OffscreenCanvas(videoWidth, videoHeight);
    canvas.getContext("2d").drawImage(this.#video, 0, 0);
    return canvas;
  }
}
