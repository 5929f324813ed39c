"""Ops: the HTTP page for people, probes and scrapers.

Parts:   server (who may ask what), http and listen (how), state and series (what is answered), page (files).
"""
