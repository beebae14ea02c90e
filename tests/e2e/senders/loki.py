"""Ships lines with a logging handler made for Loki: python loki.py BASE_URL."""

import logging
import sys

import logging_loki

handler = logging_loki.LokiHandler(url=sys.argv[1] + "/loki/api/v1/push", tags={"app": "shop"}, version="1")
handler.handleError = lambda record: sys.exit(f"not taken: {record.getMessage()}: {sys.exc_info()[1]}")
logger = logging.getLogger("orders")
logger.addHandler(handler)
logger.setLevel(logging.INFO)
for i in range(20):
    logger.info("order %d placed", i, extra={"tags": {"kind": "order"}})
