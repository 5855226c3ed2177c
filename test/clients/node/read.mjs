// Reads a Milvus collection as a Node user would and prints the number of its entities.
//
//   read.mjs --address HOST:PORT --collection NAME [--server-name NAME --ca FILE] [--user U --password P]
//
// With --server-name the connection is TLS. The exit code is 1 when it fails, with the reason on stderr.
import { parseArgs } from 'node:util';

import { MilvusClient } from '@zilliz/milvus2-sdk-node';

const text = { type: 'string' };
const { values } = parseArgs({
  options: { address: text, 'server-name': text, ca: text, collection: text, user: text, password: text },
});
const serverName = values['server-name'];

const client = new MilvusClient({
  address: values.address,
  ssl: serverName !== undefined,
  ...(values.user === undefined ? {} : { username: values.user, password: values.password }),
  timeout: 20_000,
  ...(serverName === undefined
    ? {}
    : {
        tls: { serverName, ...(values.ca === undefined ? {} : { rootCertPath: values.ca }) },
        // the SDK sends the address as :authority, which a host rule of the load balancer does not match
        channelOptions: { 'grpc.default_authority': serverName },
      }),
  telemetry: { enabled: false },
  logLevel: 'error',
  __SKIP_CONNECT__: true,
});
try {
  client.connect(MilvusClient.sdkInfo.version);
  const hello = await client.connectPromise;
  if (!hello?.status) throw new Error('what answered is not Milvus');
  const found = await client.query({ collection_name: values.collection, filter: '', output_fields: ['count(*)'] });
  if (found.status.code !== 0) throw new Error(found.status.reason);
  console.log(found.data[0]['count(*)']);
} catch (e) {
  console.error(e instanceof Error ? e.message : String(e));
  process.exitCode = 1;
} finally {
  await client.closeConnection();
}
