"""Measurements. Counts are exact; durations compare in one run, as ratios."""
