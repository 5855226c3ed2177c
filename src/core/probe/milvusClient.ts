/**
 * A client of the Milvus SDK that reports what happened instead of retrying, hiding or outliving it.
 */
import { isIP } from 'node:net';
import type { MilvusClient } from '@zilliz/milvus2-sdk-node';
import type { ProbeRequest } from '../ports.ts';
import type { OpenSockets } from './openSockets.ts';

export interface MilvusTarget {
  /** `address:port`. */
  endpoint: string;
  /** Name for SNI, the check of the certificate and `:authority`. */
  host: string;
  /** PEM of the roots to trust; none to accept any certificate. */
  roots?: readonly string[];
  credentials?: ProbeRequest['credentials'];
  /** Limit of each call in milliseconds. */
  timeoutMs: number;
}

/** Calls to one Milvus; each may reject with a gRPC error. Answers are as they came, to be parsed. */
export interface MilvusCalls {
  connect(): Promise<unknown>;
  getVersion(): Promise<unknown>;
  checkHealth(): Promise<unknown>;
  listDatabases(): Promise<unknown>;
  showCollections(database: string): Promise<unknown>;
  countEntities(database: string, collection: string): Promise<unknown>;
  getStatistics(database: string, collection: string): Promise<unknown>;
  close(): Promise<void>;
}

/** Loads the SDK, which takes some tenths of a second; the first connection test does so by itself. */
export const loadMilvusSdk = () => import('./milvusSdk.chunk.ts');

/**
 * Opens a client without connecting yet. `sockets` gets every socket it opens.
 *
 * `grpc.default_authority` because the SDK else sends `:authority` with the address, for which an Ingress has no rule; a
 * pool of one, no retries and no telemetry, so that each answer is the answer to one call.
 */
export async function openMilvus(target: MilvusTarget, sockets: OpenSockets): Promise<MilvusCalls> {
  const { MilvusClient } = await loadMilvusSdk();
  const { host, roots, credentials } = target;
  const client = sockets.run(
    () =>
      new MilvusClient({
        address: target.endpoint,
        ssl: true,
        ...credentials,
        timeout: target.timeoutMs,
        maxRetries: 0,
        tls: {
          ...(isIP(host) ? {} : { serverName: host }),
          ...(roots === undefined ? { skipCertCheck: true } : { rootCert: Buffer.from(roots.join('\n')) }),
        },
        channelOptions: {
          'grpc.default_authority': host,
          'grpc.enable_retries': 0,
          'grpc.enable_http_proxy': 0,
          'grpc.keepalive_time_ms': 60_000,
          // A connection shared with an earlier test would not be closed with this one.
          'grpc.use_local_subchannel_pool': 1,
        },
        pool: { min: 1, max: 1 },
        telemetry: { enabled: false },
        isGlobal: false,
        __SKIP_CONNECT__: true,
      }),
  );
  await keepClosed(client);
  return calls(client, MilvusClient.sdkInfo.version, sockets);
}

/**
 * The SDK's pool closes its channel and then asks grpc-js for the channel's state in the way that makes it connect
 * (`createChannelPool` in milvus-sdk-node milvus/grpc/GrpcClient.ts): a connection that nobody closes any more. Asking
 * the other way leaves it closed.
 */
async function keepClosed({ channelPool }: MilvusClient): Promise<void> {
  const service = await channelPool.acquire();
  const channel = service.getChannel();
  const stateOf = channel.getConnectivityState.bind(channel);
  channel.getConnectivityState = () => stateOf(false);
  await channelPool.release(service);
}

function calls(client: MilvusClient, sdkVersion: string, sockets: OpenSockets): MilvusCalls {
  const call = <T>(work: () => Promise<T>): Promise<unknown> => sockets.run(work);
  return {
    connect: () =>
      call(() => {
        client.connect(sdkVersion);
        return client.connectPromise;
      }),
    getVersion: () => call(() => client.getVersion()),
    checkHealth: () => call(() => client.checkHealth()),
    listDatabases: () => call(() => client.listDatabases()),
    showCollections: (database) => call(() => client.showCollections({ db_name: database })),
    countEntities: (database, collection) =>
      call(() =>
        client.query({ db_name: database, collection_name: collection, expr: '', output_fields: ['count(*)'] }),
      ),
    getStatistics: (database, collection) =>
      call(() => client.getCollectionStatistics({ db_name: database, collection_name: collection })),
    async close() {
      // Pending calls end at once when their sockets do; else the pool would wait for them.
      sockets.destroyAll();
      await client.closeConnection();
      await sockets.close();
    },
  };
}
