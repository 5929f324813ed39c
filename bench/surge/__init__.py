"""The surge on real sockets: real daemons before a simulated LLM server, measured from the app's side."""
