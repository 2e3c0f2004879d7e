"""Speed and memory of saving, loading and opening, as ratios to safetensors in the same run. See docs/benchmarks.md."""
