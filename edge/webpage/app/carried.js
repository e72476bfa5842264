/** What `mest page` put into the page: facts as JSON, files as base64, the worker's program as text. */

export function carriedFacts() {
  return JSON.parse(document.getElementById("carried-facts").textContent);
}

export function carriedText(name) {
  return document.getElementById(`carried-${name}`).textContent;
}

export function carriedBytes(name) {
  return Uint8Array.from(atob(carriedText(name).trim()), (letter) => letter.charCodeAt(0));
}
