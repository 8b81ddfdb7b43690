"""Objectives of two players: a model or guide, and a discriminator of its draws."""
