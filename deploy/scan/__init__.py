"""Scanners over the chart's examples and the Dockerfile: a finding is fixed, or waived in writing.

`make chart-scan` runs it, on its own and not in the tests: the tools are large, and change their
mind with each version. waivers.yaml has one reason for each finding that stays.
"""
