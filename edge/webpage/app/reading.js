/** What the network reads in a picture: its best classes as bars, and in words. */

import { percentText } from "./words.js";

export function best(scores, classNames) {
  const ranked = Array.from(scores, (score, place) => ({ score, name: classNames[place] }));
  return ranked.sort((one, other) => other.score - one.score);
}

/** Lists the best classes of one picture below each other. */
export function showReading(list, scores, classNames, most = 3) {
  list.replaceChildren(
    ...best(scores, classNames).slice(0, most).map(({ score, name }) => {
      const row = document.createElement("li");
      const [word, bar, share] = ["span", "meter", "span"].map((kind) => document.createElement(kind));
      word.textContent = name;
      [bar.min, bar.max, bar.value] = [0, 1, score];
      bar.setAttribute("aria-hidden", "true");
      share.textContent = percentText(score);
      row.append(word, bar, share);
      return row;
    }),
  );
}
