"""Writes entities into a new collection: writeEntities.py URI COLLECTION COUNT."""

import sys

from pymilvus import MilvusClient

uri, collection, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = MilvusClient(uri=uri, timeout=20)
client.create_collection(collection, dimension=8)
rows = [{"id": n, "vector": [(n % 7) / 7.0 + d for d in range(8)], "title": f"article {n}"} for n in range(count)]
client.insert(collection, rows)
found = client.query(collection, filter="", output_fields=["count(*)"])[0]["count(*)"]
if found != count:
    sys.exit(f"{collection} holds {found} entities instead of {count}")
client.close()
