"""How the command line spells the settings that the libraries know by their fields."""

from __future__ import annotations

# Where the option is not the field with dashes; `state` is the folder that a run writes its states to.
_OPTIONS = {"learning_rate": "lr", "schedule": "lr-scheduler", "state": "out", "contents": "for"}
_FIELDS = {option.replace("-", "_"): field for field, option in _OPTIONS.items()}


def option(setting: str, value: bool | None = None) -> str:
    """The option of a setting: --micro-batch, or --no-nesterov for a switch that is turned off."""
    name = _OPTIONS.get(setting, setting.replace("_", "-"))
    return f"--no-{name}" if value is False else f"--{name}"


def setting(name: str) -> str:
    """The setting of an option that argparse keeps under a name."""
    return _FIELDS.get(name, name)
