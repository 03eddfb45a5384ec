"""The command line: one verb a file, each a thin skin over a room below.

Runs in the process that an operator or a container starts. A verb parses its options, calls a room,
prints lines for a person (or JSON for a machine) and leaves with a code of
`voicefleet.errors.ExitCode`. No logic that another verb would want.
"""
