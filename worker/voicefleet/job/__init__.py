"""The call: everything that runs in the process of one job.

`preload` runs once in the forkserver and is shared by every job, `prewarm` once in each process
before a call comes, `call` when it does; `pod_client` is the job's connection to its pod. Knows
nothing of `voicefleet.pod`.
"""
