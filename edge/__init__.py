"""The harness on the board: hand-over formats, memory plan, engines, fine-tuning, mutation, profiler, report."""
