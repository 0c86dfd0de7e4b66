"""Hands: what turns a unit's setpoint into a fact, and reads back whether it did."""
