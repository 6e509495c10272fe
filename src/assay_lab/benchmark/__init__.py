"""Measuring detectors: metrics and the benchmark runs that write committed JSON.

May not hold training code; a benchmark only reads models and labelled data.
"""
