"""The benchmark suite: figures of ours, each beside its yardstick of the same run. See docs/benchmarks.md."""
