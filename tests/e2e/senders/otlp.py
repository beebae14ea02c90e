"""Ships records with OpenTelemetry's SDK: python otlp.py HOST:PORT. Records go over HTTP and gRPC, plain and with gzip."""

import logging
import sys

from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpExporter
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

import grpc

address = sys.argv[1]
exporters = {
    "http": HttpExporter(endpoint=f"http://{address}/v1/logs"),
    "http-gzip": HttpExporter(endpoint=f"http://{address}/otlp/v1/logs", compression=Compression.Gzip),
    "grpc": GrpcExporter(endpoint=address, insecure=True),
    "grpc-gzip": GrpcExporter(endpoint=address, insecure=True, compression=grpc.Compression.Gzip),
}
failed = []
logging.getLogger("opentelemetry").addHandler(type("Failures", (logging.Handler,), {"emit": lambda _, r: failed.append(r.getMessage())})())
for way, exporter in exporters.items():
    provider = LoggerProvider(Resource.create({"service.name": f"shop-{way}", "k8s.pod.name": "shop-1", "team": "blue"}))
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    logger = logging.getLogger(f"orders.{way}")
    logger.addHandler(LoggingHandler(logger_provider=provider))
    logger.setLevel(logging.INFO)
    logger.propagate = False
    for i in range(500):
        logger.log(logging.ERROR if i % 100 == 0 else logging.INFO, "order %d placed by way of %s", i, way, extra={"order.id": i})
    assert provider.force_flush(), way
    provider.shutdown()
if failed:
    sys.exit("\n".join(failed))
