"""What operators see: the names of everything that is counted, traced or logged, and how it leaves
the process.

Used in the parent and in every job. Names stand once, in `names`. No decisions: nothing here
changes a call.
"""
