"""What a browser is shown: templates, style, scripts, translations, view models.

Not in here: HTTP, storage, access.
"""
