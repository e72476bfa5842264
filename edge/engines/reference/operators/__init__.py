"""Every operator forward and backward: one module a family, one line an operator in the registry."""

from edge.engines.reference.operators.registry import RULES, rule_of
from edge.engines.reference.operators.rule import Rule, Tensors

__all__ = ["RULES", "Rule", "Tensors", "rule_of"]
