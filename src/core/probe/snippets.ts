/**
 * Code that connects to Milvus through the load balancer, for people to copy. Not localised: it is code.
 */

export interface Snippet {
  id: 'pymilvus' | 'node' | 'go' | 'java';
  title: string;
  code: string;
}

/**
 * Ready code for the four clients.
 * @param options.address where to connect when DNS does not lead to the load balancer yet; each client is then told the
 * host name for SNI, the check of the certificate and `:authority`
 * @param options.ca whether clients must be given the certificate authority, as `ca.crt`
 * @param options.secret the Secret that holds it; each snippet then begins with the command that saves the file
 */
export function connectSnippets(
  options: Options & { secret?: { namespace: string; name: string; file: 'ca.crt' | 'tls.crt' } },
): Snippet[] {
  const { ca, secret } = options;
  const saving = (comment: '#' | '//'): string =>
    ca && secret
      ? `${comment} kubectl get secret ${secret.name} --namespace ${secret.namespace} --output jsonpath='{.data.${secret.file.replace('.', '\\.')}}' | base64 --decode > ca.crt\n`
      : '';
  return [
    { id: 'pymilvus', title: 'Python', code: saving('#') + pymilvus(options) },
    { id: 'node', title: 'Node', code: saving('//') + node(options) },
    { id: 'go', title: 'Go', code: saving('//') + go(options) },
    { id: 'java', title: 'Java', code: saving('//') + java(options) },
  ];
}

interface Options {
  host: string;
  address?: string;
  ca: boolean;
}

const port = 443;

function authorityOf(address: string): string {
  return `${address.includes(':') ? `[${address}]` : address}:${port}`;
}

function lines(...text: (string | false)[]): string {
  return text.filter((line) => line !== false).join('\n');
}

/** milvus-io/pymilvus: `server_pem_path` is the trust file, `server_name` also sets `:authority`. */
function pymilvus({ host, address, ca }: Options): string {
  return lines(
    'from pymilvus import MilvusClient',
    '',
    'client = MilvusClient(',
    `    uri="https://${authorityOf(address ?? host)}",`,
    ca && '    server_pem_path="ca.crt",',
    address !== undefined && `    server_name="${host}",`,
    '    # token="user:password",',
    ')',
    'print(client.get_server_version(), client.list_collections())',
  );
}

/** milvus-io/milvus-sdk-node: `serverName` does not set `:authority`. */
function node({ host, address, ca }: Options): string {
  const tls = [ca ? "rootCertPath: 'ca.crt'" : '', address === undefined ? '' : `serverName: '${host}'`].filter(
    Boolean,
  );
  return lines(
    "import { MilvusClient } from '@zilliz/milvus2-sdk-node';",
    '',
    'const client = new MilvusClient({',
    `  address: '${authorityOf(address ?? host)}',`,
    '  ssl: true,',
    tls.length > 0 && `  tls: { ${tls.join(', ')} },`,
    address !== undefined && `  channelOptions: { 'grpc.default_authority': '${host}' },`,
    "  // username: 'user', password: 'password',",
    '});',
    'await client.connectPromise;',
    'console.log(await client.getVersion(), await client.listCollections());',
  );
}

/** github.com/milvus-io/milvus/client/v2 milvusclient/client.go: the dial options come after its own credentials. */
function go({ host, address, ca }: Options): string {
  const custom = ca || address !== undefined;
  const tlsConfig = [address === undefined ? '' : `ServerName: "${host}"`, ca ? 'RootCAs: roots' : ''].filter(Boolean);
  return lines(
    'package main',
    '',
    'import (',
    '\t"context"',
    custom && '\t"crypto/tls"',
    ca && '\t"crypto/x509"',
    '\t"fmt"',
    '\t"log"',
    ca && '\t"os"',
    '',
    '\t"github.com/milvus-io/milvus/client/v2/milvusclient"',
    custom && '\t"google.golang.org/grpc"',
    custom && '\t"google.golang.org/grpc/credentials"',
    ')',
    '',
    'func main() {',
    '\tctx := context.Background()',
    ca && '\tpem, err := os.ReadFile("ca.crt")',
    ca && '\tif err != nil {',
    ca && '\t\tlog.Fatal(err)',
    ca && '\t}',
    ca && '\troots := x509.NewCertPool()',
    ca && '\troots.AppendCertsFromPEM(pem)',
    '\tclient, err := milvusclient.New(ctx, &milvusclient.ClientConfig{',
    `\t\tAddress: "https://${authorityOf(address ?? host)}",`,
    '\t\t// Username: "user", Password: "password",',
    custom && '\t\tDialOptions: append(milvusclient.DefaultGrpcOpts,',
    custom && `\t\t\tgrpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{${tlsConfig.join(', ')}})),`,
    address !== undefined && `\t\t\tgrpc.WithAuthority("${host}"),`,
    custom && '\t\t),',
    '\t})',
    '\tif err != nil {',
    '\t\tlog.Fatal(err)',
    '\t}',
    '\tdefer client.Close(ctx)',
    '\tversion, err := client.GetServerVersion(ctx, milvusclient.NewGetServerVersionOption())',
    '\tfmt.Println(version, err)',
    '}',
  );
}

/** milvus-io/milvus-sdk-java `ConnectConfig`: `serverName` overrides the authority. */
function java({ host, address, ca }: Options): string {
  return lines(
    'import io.milvus.v2.client.ConnectConfig;',
    'import io.milvus.v2.client.MilvusClientV2;',
    '',
    'MilvusClientV2 client = new MilvusClientV2(ConnectConfig.builder()',
    `    .uri("https://${authorityOf(address ?? host)}")`,
    '    .secure(true)',
    ca && '    .serverPemPath("ca.crt")',
    address !== undefined && `    .serverName("${host}")`,
    '    // .token("user:password")',
    '    .build());',
    'System.out.println(client.getServerVersion() + " " + client.listCollections());',
  );
}
