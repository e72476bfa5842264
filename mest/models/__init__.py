"""Models: the published ones, a small one for digits, torchvision's and the user's own.

Internal: see docs/python-api.md.
"""

from mest.models.build import MODELS, ModelSpec, build_model

__all__ = ["MODELS", "ModelSpec", "build_model"]
