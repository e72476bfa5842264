"""A torchvision model with fresh sparse weights as a native network: run, it writes one to disk for bench.saved."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bench.agreement import make_source
from edge.network import write_network
from export.artifact import build
from export.capture import capture
from export.options import Options


def main() -> None:
    """Write the network that the arguments name (model, scheme, sparsity, side) into a folder."""
    (model, scheme, sparsity, side), target = json.loads(sys.argv[1]), Path(sys.argv[2])
    source = make_source(model, scheme, sparsity, (3, side, side), 10)
    if source is None:
        raise SystemExit(f"{scheme} fits no layer of {model}")
    built = build(source, capture(source.model, source.input), Options())
    target.mkdir(parents=True)
    write_network(built.network, target)


if __name__ == "__main__":
    main()
