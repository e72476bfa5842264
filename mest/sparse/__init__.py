"""Sparse training: what the zeros look like, how many there are, when they move, and which weights they are.

Everything a training loop needs is here, and what a scheme, a score, a growth rule or a method of one's own is made of;
see docs/own-loop.md and docs/extending.md. The modules inside are internal.
"""

from __future__ import annotations

from mest.sparse.accounting import MethodBytes, TrainingFlops, peak_bytes_by_method, training_flops
from mest.sparse.given_masks import masks_of
from mest.sparse.growth import GradientGrowth, Growth, RandomGrowth, parse_growth, register_growth
from mest.sparse.layers import Layer, Selection, Target, layers_of, select_targets
from mest.sparse.methods import METHODS, make_schedule, register_method
from mest.sparse.mutation import LayerMutation, Mutation
from mest.sparse.own_loop import sparsify
from mest.sparse.profile import Profile, read_profile
from mest.sparse.schedule import Phase, Schedule, dense, em, ems, rigl, set_, static
from mest.sparse.schemes.block import Block
from mest.sparse.schemes.channel import Channel
from mest.sparse.schemes.irregular import Irregular
from mest.sparse.schemes.pattern import Pattern
from mest.sparse.schemes.scheme import Scheme, parse_scheme, register_scheme
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
    "MethodBytes",
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
    "TrainingFlops",
    "dense",
    "em",
    "ems",
    "layers_of",
    "make_schedule",
    "masks_of",
    "parse_growth",
    "parse_scheme",
    "parse_score",
    "peak_bytes_by_method",
    "read_profile",
    "register_growth",
    "register_method",
    "register_scheme",
    "register_score",
    "rigl",
    "select_targets",
    "set_",
    "sparsify",
    "static",
    "training_flops",
]
