"""Reads a Milvus collection as a Python user would and prints the number of its entities.

    read.py --address HOST:PORT --collection NAME [--server-name NAME --ca FILE] [--user U --password P]

With --server-name the connection is TLS. The exit code is 1 when it fails, with the reason on stderr.
"""

from connection import arguments, connect, count, run


def main() -> None:
    args = arguments().parse_args()
    client = connect(args)
    try:
        print(count(client, args.collection))
    finally:
        client.close()


if __name__ == "__main__":
    run(main)
