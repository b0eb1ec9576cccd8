"""Trained models over HTTP: files in, files or JSON out. The only place that imports a web framework.

``settings`` says what can be set, ``server`` runs everything in a process, ``application`` is the ASGI application. A request passes
``observing`` (number, limits of size and time, log line, metrics, errors) and ``guarding`` (who may), then a route. A prediction goes
from ``uploads`` (a file of ours) into the queue of a ``worker``, which has one model and one thread.
"""
