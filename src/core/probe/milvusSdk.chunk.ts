/**
 * The Milvus SDK, loaded on the first connection test.
 */
import { logVerbosity, setLogVerbosity } from '@grpc/grpc-js';
import { logger, MilvusClient } from '@zilliz/milvus2-sdk-node';
import protobuf from 'protobufjs';

// Both log to the console of the process that they run in.
logger.silent = true;
setLogVerbosity(logVerbosity.NONE);
parseProtocolOnce();

export { MilvusClient };

/**
 * Each client of the SDK parses Milvus' whole protocol twice (`getGRPCService` in milvus-sdk-node milvus/utils/Grpc.ts),
 * which blocks the process for longer than all else that a connection test does. The protocol does not change.
 */
function parseProtocolOnce(): void {
  const { Root } = protobuf;
  const parse = Root.fromJSON.bind(Root);
  const parsed = new WeakMap<protobuf.INamespace, protobuf.Root>();
  Root.fromJSON = (json, into) => {
    if (into !== undefined) return parse(json, into);
    const root = parsed.get(json) ?? describeOnce(parse(json));
    parsed.set(json, root);
    return root;
  };
}

/** `toDescriptor` is what @grpc/proto-loader, loaded by the SDK, adds to a root and calls each time. */
function describeOnce(root: protobuf.Root): protobuf.Root {
  const describe = root.toDescriptor.bind(root);
  let descriptor: ReturnType<typeof describe> | undefined;
  root.toDescriptor = (version) => (descriptor ??= describe(version));
  return root;
}
