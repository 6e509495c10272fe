"""The lab: training data, forged fakes, training loops, export and benchmarks.

Nothing here is shipped in the wheel and nothing in ``assay`` may import it.
Modules that train need torch and import it inside the functions that use it
where that is practical, so that the numpy parts are testable without torch.
"""
