"""The shipped agents, driven through LiveKit's own test API: text in, events out, no provider."""
