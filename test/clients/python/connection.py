"""What the Python clients share: the arguments that name a Milvus, the connection, and one line for a failure."""

import argparse
import sys
from collections.abc import Callable

from pymilvus import MilvusClient


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--server-name")
    parser.add_argument("--ca")
    parser.add_argument("--collection", required=True)
    parser.add_argument("--user", default="")
    parser.add_argument("--password", default="")
    return parser


def connect(args: argparse.Namespace) -> MilvusClient:
    tls = {}
    if args.server_name:
        tls = {"secure": True, "server_name": args.server_name}
        if args.ca:
            tls["server_pem_path"] = args.ca
    scheme = "https" if args.server_name else "http"
    return MilvusClient(uri=f"{scheme}://{args.address}", user=args.user, password=args.password, timeout=20, **tls)


def count(client: MilvusClient, collection: str) -> int:
    return client.query(collection, filter="", output_fields=["count(*)"])[0]["count(*)"]


def run(main: Callable[[], None]) -> None:
    try:
        main()
    except Exception as e:  # the whole of a client's failure is one line for the caller
        print(e, file=sys.stderr)
        sys.exit(1)
