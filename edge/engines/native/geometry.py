"""How a convolution's work is cut: tiles of output rows, parts of the channels, and the scratch a thread needs.

The layout is that of `src/operators/conv_geometry.h` in `edge/libmest`; the library computes the sizes again and
refuses a program that differs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from edge.libmest.vocabulary import BANDS, BLOCK, CHUNK_FLOATS, DENSE, SHARED_FLOATS, SLACK_FLOATS

SCRATCH_WANTED = 2048 << 10  # bytes of a thread's panels that second-level caches still hold
ROW = 16  # what a row of a panel costs beside its vectors, in vectors
SHORTEST, LONGEST = 64, 8192  # floats of the rows that positions are put into where their order is no matter


@dataclass(frozen=True, slots=True)
class Window:
    """A convolution's window over its input; linear layers are 1×1 windows over one cell."""

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)  # top, left
    groups: int = 1
    input: tuple[int, int, int] = (1, 1, 1)  # channels, height, width
    output: tuple[int, int, int] = (1, 1, 1)

    @property
    def taps(self) -> int:
        """Weights per input channel."""
        return self.kernel[0] * self.kernel[1]

    @property
    def pointwise(self) -> bool:
        """True if every position of the output is made of the same position of the input."""
        return self.kernel == self.stride == (1, 1) and self.input[1:] == self.output[1:]

    def arranged(self, height: int, width: int) -> Window:
        """A pointwise window over as many positions in another number of rows."""
        return replace(self, input=(self.input[0], height, width), output=(self.output[0], height, width))


@dataclass(frozen=True, slots=True)
class Cut:
    """The sizes that a convolution step carries: see `MestConv`. `window` may have its positions in other rows."""

    window: Window
    tile_rows: int
    tiles: int
    parts: int
    plane_w: int
    x_rows: int
    d_rows: int
    scratch_floats: int


def sample_groups(micro_batch: int) -> tuple[int, int]:
    """Groups and samples per group: the fewest groups of at most 16, or one where it has no such divisor above 3."""
    for groups in range(-(-micro_batch // 16), micro_batch // 4 + 1):
        if micro_batch % groups == 0:
            return groups, micro_batch // groups
    return 1, micro_batch


def cut_work(
    window: Window,
    read: int,
    fmt: int,
    height: int,
    entries: int,
    groups: int,
    samples: int,
    threads: int,
    backward: bool,
    inputs: bool = True,
) -> Cut:
    """The cut that takes least time for given threads, by counting vectors packed and multiplied.

    `read`: input channels that the layer reads; `entries`: non-zeros or blocks, at their most. `backward`: a panel of
    the output's gradient is needed; `inputs`: one of the input is.
    """
    best: tuple[float, Cut] | None = None
    for seen, tile_rows in _tilings(window, samples):
        for parts in {1, threads}:
            cut = _cut(seen, read, fmt, entries, samples, tile_rows, parts, backward, inputs)
            cost = _cost(seen, read, fmt, height, entries, groups, samples, threads, cut, backward)
            if best is None or cost < best[0] * 0.999:
                best = cost, cut
    assert best is not None
    return best[1]


def _tilings(window: Window, samples: int) -> Iterator[tuple[Window, int]]:
    """Windows, and rows of a tile: of any height; and of a pointwise window one row, as long as it may be."""
    out_rows = window.output[1]
    for tiles in sorted({-(-out_rows // -(-out_rows // n)) for n in range(1, out_rows + 1)}):
        yield window, -(-out_rows // tiles)
    if not window.pointwise:
        return
    positions = out_rows * window.output[2]
    for width in range(min(positions, -(-SHORTEST // samples)), min(positions, LONGEST // samples) + 1):
        if positions % width == 0:
            yield window.arranged(positions // width, width), 1


def _cut(
    window: Window,
    read: int,
    fmt: int,
    entries: int,
    samples: int,
    tile_rows: int,
    parts: int,
    backward: bool,
    inputs: bool,
) -> Cut:
    (kernel_h, kernel_w), (stride_h, stride_w), (dilation_h, dilation_w) = window.kernel, window.stride, window.dilation
    (top, left), (_, in_h, in_w), (rows, out_h, out_w) = window.padding, window.input, window.output
    reach_h = (kernel_h - 1) * dilation_h // stride_h
    reach_w = (kernel_w - 1) * dilation_w // stride_w
    span_h = -(-(in_h + top) // stride_h)
    span_w = -(-(in_w + left) // stride_w)
    tiles = -(-out_h // tile_rows)
    plane_w = max(out_w + reach_w - _shared_columns(window, samples), span_w)
    x_rows = tile_rows + reach_h
    d_rows = tile_rows if window.pointwise else 0
    for tile in range(0 if window.pointwise else tiles):
        y0, y1 = tile * tile_rows, min((tile + 1) * tile_rows, out_h)
        u0 = 0 if tile == 0 else min(span_h, y0 + top // stride_h)
        u1 = span_h if tile == tiles - 1 else min(span_h, y1 + top // stride_h)
        d_rows = max(d_rows, max(u1, y1) - min(u0 - reach_h, y0))
    line = plane_w * samples
    parities = min(stride_h, (kernel_h - 1) * dilation_h + 1) * min(stride_w, (kernel_w - 1) * dilation_w + 1)
    columns = read // window.groups * window.taps
    listed = rows // window.groups * window.taps
    floats = read * parities * x_rows * line + SLACK_FLOATS if inputs else 0
    if backward:
        floats += rows * (reach_w * samples + d_rows * line) + SLACK_FLOATS
    floats += max(rows, read if backward else 0) * CHUNK_FLOATS
    floats += max(columns, listed if backward else 0)
    floats += max(0 if fmt == DENSE else entries, listed if backward else 0)
    floats += 0 if fmt == DENSE else (BANDS + 1) * max(rows, read if backward else 0)
    floats += listed if backward and fmt == DENSE else 0
    return Cut(window, tile_rows, tiles, parts, plane_w, x_rows, d_rows, floats + -floats % 16)


def _shared_columns(window: Window, samples: int) -> int:
    """Columns of zeros that are one row's padding on the right and the next row's on the left.

    At most what a window reaches beyond its own column: with more, rows of the output would lie over each other.
    """
    if window.stride[1] != 1:
        return 0
    left = window.padding[1]
    reach = (window.kernel[1] - 1) * window.dilation[1]
    right = window.output[2] + reach - left - window.input[2]
    return max(0, min(left, right, reach, SHARED_FLOATS // samples))


def _cost(
    window: Window,
    read: int,
    fmt: int,
    height: int,
    entries: int,
    groups: int,
    samples: int,
    threads: int,
    cut: Cut,
    backward: bool,
) -> float:
    """Relative time of the slowest thread, in vectors of 16 floats loaded."""
    rows, _, out_w = window.output
    stride_area = window.stride[0] * window.stride[1]
    weights = (
        rows * (read // window.groups) * window.taps if fmt == DENSE else entries * (height if fmt == BLOCK else 1)
    )
    run = out_w * samples
    whole = (cut.tile_rows - 1) * cut.plane_w * samples + run
    separate = cut.tile_rows * _vectors(run)
    vectors = min(separate, _vectors(whole))
    per_load = 1.0 if fmt == DENSE or (fmt == BLOCK and height % 4 == 0) else 1.5
    compute = weights * vectors * per_load / cut.parts + 3 * rows * vectors / cut.parts
    line = cut.plane_w * samples / 16 + ROW
    pack = read * cut.x_rows * line * (1 if window.stride[1] == 1 else stride_area)
    if backward:
        compute *= 2
        pack = 3 * pack + 4 * rows * cut.d_rows * line
    else:
        pack *= 3
    items = groups * cut.tiles * cut.parts
    pressure = 4 * cut.scratch_floats / SCRATCH_WANTED
    return -(-items // threads) * (compute * (1 + 0.15 * max(0.0, min(pressure, 4.0) - 1)) + pack)


def _vectors(floats: int) -> float:
    """Cost of a line in vectors: each chunk of it starts and ends with work of its own."""
    vectors = -(-floats // 16)
    return vectors + 1.5 * -(-vectors // 8)
