"""What was said and done in a call, for the job that goes on with it where one dies.

In the job: recorded from outside the agent file, and put back. In the pod: kept, capped, opaque.
It is what callers said, so nothing of it is logged, counted or traced.
"""
