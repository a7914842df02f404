"""Triune: deep metric learning."""
