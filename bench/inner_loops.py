"""Instruction mix of the kernels' inner loops and a static estimate of their throughput on a Cortex-A72.

    python -m bench.inner_loops [--cpu cortex-a53] [--llvm-mca llvm-mca-14]

The kernels are compiled for aarch64 with the packaged cross-compiler (ziglang); the innermost loop of each is found in
the assembly and given to llvm-mca, beside the scalar reference's. Multiply-adds per cycle are what counts.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from edge.libmest.build import FLAGS, FLAGS_MATH

SOURCE = Path(__file__).with_suffix(".c")
TARGET = "aarch64-linux-gnu.2.28"
KINDS = {
    "multiply-add": r"f(mla|madd|mul|add)\b",
    "load": r"ld[a-z0-9]*\b",
    "store": r"st[a-z0-9]*\b",
    "branch": r"(b\.?[a-z]*|cbn?z|tbn?z)\b",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu", default="cortex-a72")
    parser.add_argument("--llvm-mca", default="llvm-mca")
    args = parser.parse_args()
    print(f"{args.cpu}, {TARGET}")
    print("| build | loop | instructions | mix | multiply-adds | cycles | multiply-adds per cycle |")
    print("|---|---|---|---|---|---|---|")
    for name, lanes in (("neon", 4), ("scalar", 1)):
        for loop, body in inner_loops(assembly(lanes, args.cpu)).items():
            work = multiply_adds(body)
            cycles = estimate(body, args.cpu, args.llvm_mca)
            mix = ", ".join(f"{count} {kind}" for kind, count in kinds(body).items())
            print(f"| {name} | {loop} | {len(body)} | {mix} | {work} | {cycles:.1f} | {work / cycles:.2f} |")


def assembly(lanes: int, cpu: str) -> list[str]:
    """Lines of the compiled kernels."""
    options = [
        *FLAGS,
        *FLAGS_MATH,
        f"-DMEST_VL={lanes}",
        "-DMEST_ISA=neon",
        "-Wno-unused-function",
        "-Wno-unused-command-line-argument",
    ]
    if lanes == 1:
        options += ["-fno-vectorize", "-fno-slp-vectorize", "-fno-unroll-loops"]
    options += [f"-mcpu={cpu.replace('-', '_')}", "-g0", "-S"]  # as zig spells processors
    with tempfile.TemporaryDirectory(prefix="mest-loops-") as folder:
        out = Path(folder) / "loops.s"
        command = [sys.executable, "-m", "ziglang", "cc", "-target", TARGET, *options, "-o", str(out), str(SOURCE)]
        subprocess.run(command, capture_output=True, text=True, check=True)
        return out.read_text().splitlines()


def inner_loops(lines: list[str]) -> dict[str, list[str]]:
    """The loop of each function that multiplies most without another loop inside."""
    found: dict[str, list[str]] = {}
    function, labels = "", {}
    for number, line in enumerate(lines):
        if match := re.match(r"([a-z_0-9]+):", line):
            function, labels = match[1], {}
        elif match := re.match(r"(\.L[\w.]+):", line):
            labels[match[1]] = number
        elif (match := re.search(r"\s(\.L[\w.]+)$", line.split("//")[0].rstrip())) and match[1] in labels:
            body = [text for raw in lines[labels[match[1]] : number + 1] if (text := instruction(raw))]
            if multiply_adds(body) > multiply_adds(found.get(function, [])):
                found[function] = body
            labels = {}  # what encloses this loop is not innermost
    return found


def instruction(line: str) -> str:
    """The line's instruction, or nothing for labels, directives and comments."""
    text = line.split("//")[0].strip()
    return "" if not text or text.endswith(":") or text.startswith(".") else text


def multiply_adds(body: list[str]) -> int:
    """Single multiply-adds that one pass of the loop does."""
    return sum(4 if ".4s" in text else 1 for text in body if re.match(r"f(mla|madd)\b", text))


def kinds(body: list[str]) -> Counter[str]:
    """Instructions by kind."""
    names = (next((kind for kind, form in KINDS.items() if re.match(form, text)), "address") for text in body)
    return Counter(names)


def estimate(body: list[str], cpu: str, program: str) -> float:
    """Cycles of one pass when the loop runs on and on, as llvm-mca sees it."""
    command = [program, "-mtriple=aarch64", f"-mcpu={cpu}", "-iterations=200"]
    text = "\n".join(
        re.sub(r"\s\.L[\w.]+$", " #0", line) if line.startswith(("b", "cb", "tb")) else line for line in body
    )
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    match = re.search(r"Total Cycles:\s+(\d+)", done.stdout)
    assert match, done.stdout[:200]
    return int(match[1]) / 200


if __name__ == "__main__":
    main()
