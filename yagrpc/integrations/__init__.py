"""What connects yagrpc with other libraries; each module needs the extra of its name.

Rules: public names of yagrpc and its `Events` only, so that a module here could be anybody's.
"""
