"""voicefleet hosts LiveKit voice agents so that no call is lost.

The rooms, in the direction of imports: `cli` (one verb a file) → `server` (the pod's one parent
process) → `job` (one process per call) → `agents` (what is said) → `providers` (who hears, thinks,
speaks) → `telemetry` → `settings`, `errors`. `lab` stands in for the world and is imported only by
`cli` and the tests.
"""
