/** Numbers of samples, [sample][channel][row][column], before normalisation. */
export type Numbers = Uint8Array | Int16Array | Float32Array;
export type Bytes = ArrayBuffer | ArrayBufferView;

export interface Facts {
  channels: number;
  height: number;
  width: number;
  /** 1: samples are pixels, in Uint8Array. */
  images: number;
  classes: number;
  batchSize: number;
  /** Samples that are computed at once. */
  piece: number;
  threads: number;
  /** Share of the weights that are gone. */
  sparsity: number;
  /** Of the whole process of mest-run. */
  plannedPeakBytes: number;
  budgetBytes: number;
  arenaBytes: number;
  tensorsBytes: number;
  stateBytes: number;
  epochs: number;
  learningRate: number;
  seed: number;
}

/** What is not given is as compiled, or as in the state that is continued. */
export interface Settings {
  epochs?: number;
  /** Steps between two states. */
  saveEvery?: number;
  learningRate?: number;
  /** Share of the samples that is held out, unless some are marked. */
  holdOut?: number;
  seed?: number;
}

export interface Progress {
  /** 1: accuracy before training, 2: training, 3: accuracy after it, 4: finished, 5: between two epochs of a plan
   * with patience. */
  phase: number;
  finished: boolean;
  epoch: number;
  epochs: number;
  epochEnded: boolean;
  /** A state should be saved now. */
  due: boolean;
  step: number;
  samples: number;
  correct: number;
  loss: number;
  learningRate: number;
  epochLoss: number;
  epochAccuracy: number;
  /** On what is held out; NaN while unknown. */
  accuracyBefore: number;
  accuracyAfter: number;
  trained: number;
  heldOut: number;
  stepMs: number;
  readMs: number;
  /** Weights that went and came with this step, and mutations of the run so far. */
  removed: number;
  grown: number;
  mutations: number;
  /** Of the epoch that ended, of a plan with patience; else NaN. */
  heldOutAccuracy: number;
  /** It is the best epoch so far: keep a state of it, and load that in the end. */
  gained: boolean;
  /** 0: none. */
  bestEpoch: number;
  stoppedEarly: boolean;
}

/** What the library refuses (2), has no memory for (3) or finds damaged (4). */
export class MestError extends Error {
  readonly code: number;
  constructor(code: number, message: string);
}

export function supported(): boolean;

export interface Opening {
  /** mest.wasm, as bytes or compiled. */
  module: WebAssembly.Module | BufferSource;
  /** What `mest compile` wrote. */
  plan: Bytes;
  /** What `mest pack` wrote; `use` brings samples without it. */
  data?: Bytes;
  /** false: for predictions alone, which takes less memory. */
  training?: boolean;
  /** Room for so many samples of `use`; at least a batch. */
  mostSamples?: number;
  /** The kind of the samples that are given to the model. */
  numbers?: Uint8ArrayConstructor | Int16ArrayConstructor | Float32ArrayConstructor;
}

export function open(opening: Opening): Promise<Model>;

export class Model {
  private constructor();
  readonly facts: Facts;
  readonly classNames: string[];
  readonly memoryBytes: number;
  readonly usedBytes: number;
  readonly sampleSize: number;
  predict(samples: Numbers): Float32Array;
  trainStep(samples: Numbers, labels: ArrayLike<number>, learningRate: number): { loss: number; correct: number };
  use(samples: Numbers, labels: ArrayLike<number>, test?: ArrayLike<number>): void;
  evaluate(): { correct: number; samples: number };
  begin(settings?: Settings): void;
  continue(settings?: Settings): void;
  advance(): Progress;
  epoch(): Progress;
  save(): Uint8Array;
  load(state: Bytes): void;
  reset(): void;
}
