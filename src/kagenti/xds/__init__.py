"""The ADS server's process: identities in, snapshots out to Envoys; the only room that knows gRPC and protobuf."""
