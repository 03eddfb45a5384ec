"""The call: everything that runs in the process of one job.

`preload` runs once in the forkserver and is shared by every job, `prewarm` once per process before
a call comes, `entrypoint` when it does. Knows nothing of `voicefleet.pod`.
"""
