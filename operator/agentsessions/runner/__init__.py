"""The process in the agent pod: plays turns that the gateway pins, one after the other, and keeps nothing of its own.

Invariants:
    * Only the gateway is dialled: proxies and CA files named in the environment do not count.
    * Playing a turn again is harmless: answers are replayed by the gateway, results of tools are recorded there.
    * A tool's result is on disk before it is reported, and reported before the model sees it.
    * Nothing here knows whether a model is scripted.
"""
