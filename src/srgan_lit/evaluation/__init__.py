"""Metrics, protocols, tables, and the report."""
