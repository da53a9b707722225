"""A gRPC server with the health service, by hand: `health.py ADDRESS:PORT`. The service `sick` is not serving."""

import sys
from concurrent import futures

import grpc

STATUS = {b"": 1, b"web": 1, b"sick": 2}


def check(request, context):
    # A HealthCheckRequest has one field: 1, the name of the service.
    name = request[2:] if request else b""
    if name not in STATUS:
        context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
    return bytes([8, STATUS[name]])


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    handlers = {"Check": grpc.unary_unary_rpc_method_handler(check)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers),))
    server.add_insecure_port(sys.argv[1])
    if len(sys.argv) > 3:
        pair = (open(sys.argv[4], "rb").read(), open(sys.argv[3], "rb").read())
        server.add_secure_port(sys.argv[2], grpc.ssl_server_credentials([pair]))
    server.start()
    server.wait_for_termination()


main()
