"""Mixtures of Bradley-Terry raters by expectation-maximisation."""
