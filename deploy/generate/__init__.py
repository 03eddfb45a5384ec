"""Writes what follows from something else: dashboards, schema, tables, copies, manifests, renders.

`make chart` runs it. Nothing it writes is edited by hand, and tests/deploy fails where a file is
not what it would write. No product code: nothing here is in an image.
"""
