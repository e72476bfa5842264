"""A run becomes an artifact: capture, compression, training graphs, native network, verification.

`export_model` makes one of a model in a program, `restore_state` brings back what a board made of it. What a program
may use is named in `__all__`; docs/python-api.md says more. Every other module is internal and may change without
notice. Names are loaded on first use, so that `mest verify` needs neither torch nor onnx.

Part of the distribution `mest`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.handover.manifest import Manifest
    from export.checks.agreement import DisagreementError
    from export.live import export_model
    from export.returned import Restored, restore_state

__all__ = ["DisagreementError", "Manifest", "Restored", "export_model", "restore_state"]

_HOMES = {
    "DisagreementError": "export.checks.agreement",
    "Manifest": "edge.handover.manifest",
    "Restored": "export.returned",
    "export_model": "export.live",
    "restore_state": "export.returned",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'export' has no attribute {name!r}; it offers {', '.join(__all__)}")
