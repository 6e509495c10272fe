"""What people see: templates, style, scripts, languages, and the values that templates show.

Not in here: HTTP, SQL, permissions. Routes are in :mod:`assay.server.pages`.
"""
