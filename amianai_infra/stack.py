"""Wires the components into the production stack."""
