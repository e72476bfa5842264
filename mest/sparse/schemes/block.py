"""Block sparsity: a few consecutive output channels at one column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mest.errors import InputError
from mest.sparse.decimals import weights_of
from mest.sparse.schemes.scheme import Scheme, Shape, column_bytes, is_depthwise, register_scheme


@register_scheme
@dataclass(frozen=True)
class Block(Scheme):
    """Blocks of `height` output channels × 1 column of the weight as `(out, in·kh·kw)`.

    The published `free_block_prune_column_4` is height 4. A block's score is the L2 norm of its weights' scores.
    """

    name: ClassVar[str] = "block"
    height: int = 4

    @classmethod
    def parse(cls, argument: str | None) -> Block:
        """Block of the given height; 4 if nothing follows."""
        if argument is None:
            return cls()
        if not argument.isdecimal() or not 1 <= int(argument) <= 1 << 16:
            raise InputError(f"scheme 'block:{argument}': the height must be a whole number from 1, such as 'block:4'")
        return cls(int(argument))

    def __str__(self) -> str:
        return self.name if self.height == 4 else f"{self.name}:{self.height}"

    def problem(self, shape: Shape, groups: int = 1) -> str | None:
        """Blocks stay inside a group and fill the output channels."""
        if is_depthwise(shape, groups):
            return (
                "a depthwise convolution has no columns to share between channels; use scheme irregular for this layer"
            )
        if (shape[0] // groups) % self.height:
            where = f" of each of {groups} groups" if groups > 1 else ""
            return (
                f"{shape[0] // groups} output channels{where} do not divide into blocks of {self.height};"
                " use scheme irregular for this layer"
            )
        return None

    def grid(self, shape: Shape) -> Shape:
        """`(out/height, in·kh·kw)`."""
        return shape[0] // self.height, weights_of(shape[1:])

    def unit_scores(self, score: Tensor) -> Tensor:
        """L2 norm over each block."""
        blocks = score.reshape(-1, self.height, weights_of(tuple(score.shape[1:])))
        return blocks.square().sum(dim=1).sqrt_()

    def expand(self, units: Tensor, shape: Shape) -> Tensor:
        """Each block's decision for all of its rows."""
        return units[:, None, :].expand(-1, self.height, -1).reshape(shape)

    def alive(self, mask: Tensor) -> Tensor:
        """Any row of a block tells of all."""
        return mask.reshape(-1, self.height, weights_of(tuple(mask.shape[1:])))[:, 0]

    def index_bytes(self, shape: Shape, kept: int) -> int:
        """A 32-bit start per row of blocks and one column index per block."""
        rows, columns = self.grid(shape)
        return 4 * (rows + 1) + kept * column_bytes(columns)
