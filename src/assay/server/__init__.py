"""HTTP: the API, the sessions, the routes of the pages, and the program that serves them.

Not in here: SQL, templates, analysis. Needs the extra ``server``.
"""
