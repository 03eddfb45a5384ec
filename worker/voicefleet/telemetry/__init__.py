"""Traces, metrics, logs and call reports: what they are named and how they leave the process.

Used in the parent and in every job. Each of our metrics and attributes has its name in `names`,
once. Nothing here decides about a call or changes one.
"""
