"""The commands: each module is one command, and there is no other list of them.

Rules: `embed.py` holds the click command or group `embed`; an underscore in a module's name is a dash in the
command's. No command imports another: what several of them need is in `yagrpc.cli.options` and `yagrpc.cli.io`. A
module loads neither gRPC nor protobuf when it is imported, since the program's help imports all of them: the function
that runs the command does.
"""
