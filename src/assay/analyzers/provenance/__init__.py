"""What the file says about itself: signed statements, tags, texts and file structure.

Not in here: anything computed from what the picture shows or the sound says. Statements
are facts with a strength, and every one but a trusted signature can be planted; absence
of a statement never counts for or against.
"""
