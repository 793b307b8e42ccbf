"""The published benchmarks of video domain adaptation, from data to table."""
