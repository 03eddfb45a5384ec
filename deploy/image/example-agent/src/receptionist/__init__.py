"""The receptionist of a museum."""
