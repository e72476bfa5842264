/** Pictures from files, picked or dropped. */

const PLAIN = { colorSpaceConversion: "none", premultiplyAlpha: "none" };

/** Each file as a decoded picture with its name; `failed` gets the names of those that are none. */
export async function decoded(files, failed) {
  const found = [];
  for (const file of [...files].sort((one, other) => (one.name < other.name ? -1 : 1))) {
    try {
      found.push({ name: file.name, picture: await createImageBitmap(file, PLAIN) });
    } catch {
      failed.push(file.name);
    }
  }
  return found;
}

/** Calls `taken` with the files of an input, or dropped anywhere on `area`. */
export function watchFiles(input, area, taken) {
  input.addEventListener("change", () => {
    taken([...input.files]);
    input.value = "";
  });
  area.addEventListener("dragover", (event) => {
    event.preventDefault();
    area.classList.add("over");
  });
  area.addEventListener("dragleave", () => area.classList.remove("over"));
  area.addEventListener("drop", (event) => {
    event.preventDefault();
    area.classList.remove("over");
    if (event.dataTransfer.files.length) taken([...event.dataTransfer.files]);
  });
}

/** Hands a file to the person. */
export function download(name, content) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type: "application/octet-stream" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
