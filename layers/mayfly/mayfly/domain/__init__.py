"""What Mayfly decides: pure functions over plain values. Standard library only; time is an argument."""
