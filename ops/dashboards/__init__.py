"""Grafana's dashboards, written in Python: one file a dashboard, its JSON beside it.

`make chart` writes the JSON and puts it into the chart; nobody edits it. What a panel asks is built
from `voicefleet.telemetry.names` and the names that
ops/rules records, so nothing that is not measured
can be asked for. Also here: how the same JSON is asked of a Prometheus and drawn. No product code:
nothing here is in an image.
"""
