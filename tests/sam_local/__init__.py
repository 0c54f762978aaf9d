"""The functions in containers: `sam local` with a container engine (see engine.py)."""
