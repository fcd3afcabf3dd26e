"""Measurements of the product. Every figure is printed with the machine that it was taken on."""
