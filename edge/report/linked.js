// Links the views of a step: a moment that is chosen in one is marked in all, a tensor says who reads it next.
for (const figure of document.querySelectorAll(".linked")) {
  const {steps, tensors, frames} = JSON.parse(figure.querySelector("script").textContent);
  const said = figure.querySelector("output");
  const hint = said.textContent;
  let step = -1;
  let chosen = -1;

  const show = () => {
    for (const svg of figure.querySelectorAll("svg")) {
      const [left, right] = frames[svg.viewBox.baseVal.width];
      const x = left + ((step + 0.5) / steps.length) * (right - left);
      const cursor = svg.querySelector(".cursor");
      cursor.setAttribute("transform", `translate(${x} 0)`);
      cursor.style.display = step < 0 ? "none" : "";
      for (const old of svg.querySelectorAll(".chosen")) old.classList.remove("chosen");
      if (chosen >= 0) svg.querySelector(`[data-tensor="${chosen}"]`)?.classList.add("chosen");
      for (const bar of svg.querySelectorAll("[data-step]")) {
        const used = chosen < 0 || tensors[chosen].uses.includes(Number(bar.dataset.step));
        bar.style.opacity = used ? 1 : 0.25;
      }
    }
    if (step < 0) {
      said.textContent = hint;
      return;
    }
    const lines = [`Step ${step + 1} of ${steps.length}: ${steps[step].text}`];
    if (chosen >= 0) {
      const tensor = tensors[chosen];
      const next = tensor.uses.find((use) => use > step);
      lines.push(tensor.text, tensor.why);
      lines.push(next === undefined ? "Nobody reads it after this step." : `Read next by ${steps[next].name}.`);
    }
    said.textContent = lines.join("\n");
  };
  const alive = () =>
    tensors
      .map((tensor, index) => ({...tensor, index}))
      .filter((tensor) => tensor.first <= step && step <= tensor.last)
      .sort((one, other) => one.offset - other.offset)
      .map((tensor) => tensor.index);

  for (const svg of figure.querySelectorAll("svg")) {
    const [left, right] = frames[svg.viewBox.baseVal.width];
    const point = (event) => {
      const box = svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
      step = Math.max(0, Math.min(steps.length - 1, Math.floor(((x - left) / (right - left)) * steps.length)));
      chosen = Number(event.target.dataset?.tensor ?? -1);
      show();
    };
    svg.addEventListener("pointermove", point);
    svg.addEventListener("click", point);
  }
  figure.addEventListener("keydown", (event) => {
    const sideways = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    const along = {ArrowUp: 1, ArrowDown: -1}[event.key];
    if (sideways) {
      step = Math.max(0, Math.min(steps.length - 1, step + sideways));
      if (chosen >= 0 && !alive().includes(chosen)) chosen = -1;
    } else if (along) {
      step = Math.max(0, step);
      const there = alive();
      const place = there.indexOf(chosen);
      chosen = there.length ? there[place < 0 ? 0 : (place + along + there.length) % there.length] : -1;
    } else if (event.key === "Escape") {
      step = chosen = -1;
    } else {
      return;
    }
    event.preventDefault();
    show();
  });
}
