"""Queries, the embedded dataset Stage, feature stores and the clip grid."""
