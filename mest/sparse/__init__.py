"""Sparse training: what the zeros look like, how many there are, when they move, and which weights they are.

Everything a training loop needs is here; see docs/own-loop.md and docs/extending.md.
"""

from __future__ import annotations

from mest.sparse.block import Block
from mest.sparse.channel import Channel
from mest.sparse.growth import GradientGrowth, Growth, RandomGrowth, parse_growth, register_growth
from mest.sparse.irregular import Irregular
from mest.sparse.layers import Layer, Selection, Target, layers_of, select_targets
from mest.sparse.mutation import LayerMutation, Mutation
from mest.sparse.own_loop import sparsify
from mest.sparse.pattern import Pattern
from mest.sparse.profile import Profile, read_profile
from mest.sparse.schedule import METHODS, Phase, Schedule, dense, em, ems, make_schedule, rigl, set_, static
from mest.sparse.scheme import Scheme, parse_scheme, register_scheme
from mest.sparse.score import Magnitude, MagnitudeGradient, Score, parse_score, register_score
from mest.sparse.sparsifier import LayerState, Sparsifier

__all__ = [
    "METHODS",
    "Block",
    "Channel",
    "GradientGrowth",
    "Growth",
    "Irregular",
    "Layer",
    "LayerMutation",
    "LayerState",
    "Magnitude",
    "MagnitudeGradient",
    "Mutation",
    "Pattern",
    "Phase",
    "Profile",
    "RandomGrowth",
    "Schedule",
    "Scheme",
    "Score",
    "Selection",
    "Sparsifier",
    "Target",
    "dense",
    "em",
    "ems",
    "layers_of",
    "make_schedule",
    "parse_growth",
    "parse_scheme",
    "parse_score",
    "read_profile",
    "register_growth",
    "register_scheme",
    "register_score",
    "rigl",
    "select_targets",
    "set_",
    "sparsify",
    "static",
]
