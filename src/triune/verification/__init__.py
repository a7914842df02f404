"""How well distances tell the same from the different: ROC, thresholds, and how sure the figures are."""
