"""The demo: its story in three chapters, told on the screen."""
