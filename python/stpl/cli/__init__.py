"""The command ``stpl-adapt``: one module a command, nothing heavy imported before a command needs it."""
