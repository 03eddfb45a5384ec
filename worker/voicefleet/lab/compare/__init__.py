"""The same drills against LiveKit's own worker command and against ours, in one run.

Each drill is a function of one shape: it gets a subject (stock or voicefleet), puts its worker on a
stage of its own (real livekit-server, stand-ins, real callers), does something to it and returns
what was seen. Nothing here knows the inside of either worker. What is printed is measured in that
run; a drill that could not be held says why in place of a figure.
"""
