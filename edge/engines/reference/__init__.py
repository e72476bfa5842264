"""A plain numpy executor of the native network: the referee that every engine is tested against."""

from edge.engines.reference.executor import Reference
from edge.engines.reference.loss import cross_entropy

__all__ = ["Reference", "cross_entropy"]
