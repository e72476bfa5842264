/** One tab at a time holds what the browser keeps of a page: two of them would write over each other's run. */

// A tab that was just left, or is reloaded, may take so long to let go.
const LETTING_GO_MS = 1000;
const ANSWER_MS = 300;

/** Whether this tab holds `name` from now on, until it is closed. */
export async function holds(name) {
  try {
    return await locked(name);
  } catch {
    return agreed(name); // no locks for a page from a server without TLS
  }
}

function locked(name) {
  return new Promise((resolve, reject) => {
    const untilClosed = () => new Promise(() => resolve(true));
    const signal = AbortSignal.timeout(LETTING_GO_MS);
    const refused = (error) => (signal.aborted ? resolve(false) : reject(error)); // browsers name that error differently
    navigator.locks.request(name, { signal }, untilClosed).catch(refused);
  });
}

/** The same by word of mouth: who holds it answers; of two that ask at once, the tab that was opened first holds it. */
async function agreed(name) {
  const channel = new BroadcastChannel(name);
  const opened = performance.timeOrigin + Math.random();
  let [mine, settled] = [true, false];
  channel.addEventListener("message", ({ data: { asked } }) => {
    if (!asked) mine &&= settled;
    else if (mine && (settled || asked > opened)) channel.postMessage({});
    else mine = false;
  });
  channel.postMessage({ asked: opened });
  await new Promise((resolve) => setTimeout(resolve, ANSWER_MS));
  settled = true;
  // A page that the browser had put aside comes back: another may hold it by now.
  addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
  return mine;
}
