"""How fast gptviz is, as ratios to its peers measured in the same run: `python -m benchmarks`."""
