"""Making labelled fakes from real pictures, seeded, with the mask of what was changed.

May not read models of the shipped package to choose its fakes; that is the arena's work.
"""
