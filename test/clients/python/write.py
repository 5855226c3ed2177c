"""Creates a collection of a given number of entities, as a Python user would.

    write.py --address HOST:PORT --collection NAME --entities N [--server-name NAME --ca FILE] [--user U --password P]
"""

import argparse
import sys

from pymilvus import MilvusClient

DIMENSION = 8


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--server-name")
    parser.add_argument("--ca")
    parser.add_argument("--collection", required=True)
    parser.add_argument("--entities", type=int, required=True)
    parser.add_argument("--user", default="")
    parser.add_argument("--password", default="")
    args = parser.parse_args()
    tls = {}
    if args.server_name:
        tls = {"secure": True, "server_name": args.server_name}
        if args.ca:
            tls["server_pem_path"] = args.ca
    scheme = "https" if args.server_name else "http"
    client = MilvusClient(uri=f"{scheme}://{args.address}", user=args.user, password=args.password, timeout=20, **tls)
    try:
        client.create_collection(args.collection, dimension=DIMENSION)
        rows = [{"id": i, "vector": [((i * 31 + d * 17) % 101) / 101 for d in range(DIMENSION)]} for i in range(args.entities)]
        client.insert(args.collection, rows)
        client.flush(args.collection)
        print(client.query(args.collection, filter="", output_fields=["count(*)"])[0]["count(*)"])
    finally:
        client.close()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception as e:  # the whole of a client's failure is one line for the caller
        print(e, file=sys.stderr)
        sys.exit(1)
