// Steps of one network by mest.js and by TensorFlow.js, and a whole run by mest.js; in Node and in a page alike.
(() => {
  const LEAST_MS = 20; // a page's clock is coarse: so long at least is timed at once
  const SLOW_MS = 3000; // such a step is timed once
  const [FEWEST, MOST, BUDGET_MS] = [5, 25, 3000];

  function fromBase64(text) {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  }

  function floats(text) {
    return new Float32Array(fromBase64(text).buffer);
  }

  function median(values) {
    return [...values].sort((one, other) => one - other)[values.length >> 1];
  }

  /** Times a step, which may be a promise; the first step's loss is kept, to see that it is the same network. */
  async function timed(step) {
    const losses = [await step()];
    let start = performance.now();
    losses.push(await step());
    const took = performance.now() - start;
    const times = [];
    if (took > SLOW_MS) times.push(took);
    const [each, fewest] = [Math.max(1, Math.ceil(LEAST_MS / Math.max(0.1, took))), took > SLOW_MS ? 1 : FEWEST];
    const begun = performance.now();
    while (times.length < fewest || (took < SLOW_MS && times.length < MOST && performance.now() - begun < BUDGET_MS)) {
      start = performance.now();
      for (let count = 0; count < each; count += 1) losses.push(await step());
      times.push((performance.now() - start) / each);
    }
    if (!losses.every(Number.isFinite)) throw new Error("the loss is no longer finite");
    const [stepMsMin, stepMsMax] = [Math.min(...times), Math.max(...times)];
    const how = { rounds: times.length, stepsARound: each, firstLoss: losses[0] };
    return { stepMsMedian: median(times), stepMsMin, stepMsMax, ...how };
  }

  async function mestSteps({ open }, job) {
    const model = await open({ module: fromBase64(job.module), plan: fromBase64(job.plan) });
    const [pixels, labels] = [fromBase64(job.pixels), Int32Array.from(job.labels)];
    const found = await timed(() => model.trainStep(pixels, labels, job.learningRate).loss);
    return { ...found, memoryBytes: model.memoryBytes };
  }

  /** A whole run as compiled; the data marks what is held out. */
  async function mestRun({ open }, job) {
    const model = await open({ module: fromBase64(job.module), plan: fromBase64(job.plan), data: fromBase64(job.data) });
    model.begin();
    let at = model.epoch();
    while (!at.finished) at = model.epoch();
    return { accuracyBefore: at.accuracyBefore, accuracyAfter: at.accuracyAfter, trained: at.trained, heldOut: at.heldOut, steps: at.step };
  }

  const LAYERS = {
    conv: (tf, x, { stride, padding, weight }, weights) => tf.conv2d(x, weights[weight], stride, padding),
    batch_norm(tf, x, { scale, shift, mean, variance, epsilon, momentum }, weights, moved) {
      const found = tf.moments(x, [0, 1, 2]);
      moved.push([mean, found.mean, momentum], [variance, found.variance, momentum]);
      return tf.batchNorm(x, found.mean, found.variance, weights[shift], weights[scale], epsilon);
    },
    relu: (tf, x) => tf.relu(x),
    add: (tf, x, operator, weights, moved, other) => tf.add(x, other),
    global_avg_pool: (tf, x) => tf.mean(x, [1, 2]),
    flatten: (tf, x) => x,
    linear: (tf, x, { weight, bias }, weights) => tf.add(tf.matMul(x, weights[weight]), weights[bias]),
  };

  function forward(tf, operators, input, weights, moved) {
    const values = { input };
    for (const operator of operators) {
      const [first, second] = operator.inputs.map((name) => values[name]);
      values[operator.name] = LAYERS[operator.op](tf, first, operator, weights, moved, second);
    }
    return values[operators[operators.length - 1].name];
  }

  async function tfjsSteps(tf, job) {
    if (!(await tf.setBackend(job.backend))) throw new Error(`no backend ${job.backend}`);
    await tf.ready();
    const { operators, parameters } = job.network;
    const weights = {};
    for (const { name, shape, values, trainable } of parameters) {
      weights[name] = tf.variable(tf.tensor(floats(values), shape), trainable);
    }
    const images = tf.tensor4d(floats(job.images), job.shape);
    const labels = tf.oneHot(tf.tensor1d(job.labels, "int32"), job.classes);
    const optimizer = tf.train.momentum(job.learningRate, 0.9);
    const loss = () => {
      const moved = [];
      const logits = forward(tf, operators, images, weights, moved);
      for (const [name, found, share] of moved) {
        weights[name].assign(tf.add(tf.mul(weights[name], 1 - share), tf.mul(found, share)));
      }
      return tf.losses.softmaxCrossEntropy(labels, logits);
    };
    const found = await timed(async () => {
      const value = optimizer.minimize(loss, true);
      const [number] = await value.data();
      value.dispose();
      return number;
    });
    return { ...found, backend: tf.getBackend(), version: tf.version.tfjs, tensorBytes: tf.memory().numBytes };
  }

  globalThis.beside = { mestSteps, mestRun, tfjsSteps };
})();
