"""Ships documents with Elasticsearch's own client: python elastic.py BASE_URL. Exits with an error where the client is not content."""

import sys

from elasticsearch import BadRequestError, Elasticsearch, helpers

base = sys.argv[1]
for url in (base, base + "/elasticsearch"):
    client = Elasticsearch(url, http_compress=url == base, request_timeout=20)
    info = client.info()
    assert info["tagline"] == "You Know, for Search", info
    assert client.ping()
    assert client.cluster.health()["status"] == "green"
    assert client.license.get()["license"]["status"] == "active"
    client.indices.put_index_template(name="shop", index_patterns=["shop-*"], template={"settings": {}})
    assert client.indices.exists_index_template(name="shop")
    client.ilm.put_lifecycle(name="keep", policy={"phases": {}})
    client.ingest.put_pipeline(id="geo", processors=[])

client = Elasticsearch(base, http_compress=True, request_timeout=20)
documents = (
    {
        "_op_type": "create" if i % 2 else "index",
        "_index": "shop-2026.01.15",
        "@timestamp": f"2026-01-15T13:00:{i % 60:02}.{i:06}Z",
        "message": f"order {i} placed",
        "service": {"name": "shop"},
        "log": {"level": "error" if i % 100 == 0 else "info", "offset": i},
        "user": {"id": f"u-{i}"},
    }
    for i in range(1000)
)
stored, failed = helpers.bulk(client, documents, chunk_size=300)
assert (stored, failed) == (1000, []), (stored, failed)

answer = client.bulk(
    index="odd",
    operations=[
        {"create": {}},
        {"@timestamp": "2026-01-15T13:02:00Z", "message": "good"},
        {"create": {}},
        {"@timestamp": "never", "message": "bad"},
        {"delete": {"_id": "1"}},
    ],
)
fates = [next(iter(item.values()))["status"] for item in answer["items"]]
assert answer["errors"] and fates == [201, 400, 400], answer

one = client.index(index="odd", document={"@timestamp": "2026-01-15T13:02:01Z", "message": "alone"})
assert one["result"] == "created", one
try:
    client.index(index="odd", document={"@timestamp": "never"})
except BadRequestError as e:
    assert e.error == "document_parsing_exception", e.error
else:
    sys.exit("a document without a readable time was taken")
