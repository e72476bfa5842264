/** The page's parts by their names, and its one place for what went wrong. */

export function element(name) {
  return document.getElementById(name);
}

/** Says what went wrong, or nothing. */
export function alarm(text) {
  const place = element("alarm");
  place.hidden = !text;
  place.textContent = text;
}

/** What a button does; what goes wrong in it is said, and the next press begins anew. */
export function press(name, work) {
  element(name).addEventListener("click", async () => {
    alarm("");
    try {
      await work();
    } catch (error) {
      alarm(error.message);
    }
  });
}

/** What a storage that is full, or was taken away, means for the person. */
export function storageFault(error) {
  const full = error?.name === "QuotaExceededError";
  return full
    ? "The browser's storage is full: what was kept before is still there, this is not. Download the state, or free some storage."
    : `The browser could not store this (${error?.message ?? "no reason given"}). Download the state before you leave.`;
}
