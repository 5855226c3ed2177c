"""Reads a Milvus collection as a Python user would and prints the number of its entities.

    read.py --address HOST:PORT --collection NAME [--server-name NAME --ca FILE] [--user U --password P]

With --server-name the connection is TLS. The exit code is 1 when it fails, with the reason on stderr.
"""

import argparse
import sys

from pymilvus import MilvusClient


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--server-name")
    parser.add_argument("--ca")
    parser.add_argument("--collection", required=True)
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
        rows = client.query(args.collection, filter="", output_fields=["count(*)"])
        print(rows[0]["count(*)"])
    finally:
        client.close()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception as e:  # the whole of a client's failure is one line for the caller
        print(e, file=sys.stderr)
        sys.exit(1)
