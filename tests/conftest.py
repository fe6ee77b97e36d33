"""What holds for every suite: gRPC, which unit tests use in this very process, keeps out of forks."""

import os

# Read when grpc is imported. Its fork handlers abort a child that is forked while gRPC's threads run; nobody here uses
# gRPC in a forked child (gRPC core documentation, "GRPC_ENABLE_FORK_SUPPORT").
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
