"""Creates a collection of a given number of entities, as a Python user would.

    write.py --address HOST:PORT --collection NAME --entities N [--server-name NAME --ca FILE] [--user U --password P]
"""

from connection import arguments, connect, count, run

DIMENSION = 8


def main() -> None:
    parser = arguments()
    parser.add_argument("--entities", type=int, required=True)
    args = parser.parse_args()
    client = connect(args)
    try:
        client.create_collection(args.collection, dimension=DIMENSION)
        rows = [{"id": i, "vector": [((i * 31 + d * 17) % 101) / 101 for d in range(DIMENSION)]} for i in range(args.entities)]
        client.insert(args.collection, rows)
        client.flush(args.collection)
        print(count(client, args.collection))
    finally:
        client.close()


if __name__ == "__main__":
    run(main)
