/** For tests: a real HTTPS server on a loopback port that behaves as a test wants, and a kubeconfig for it. */
import forge from 'node-forge';
import { generateKeyPairSync } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';

export interface FaultServer {
  /** `https://127.0.0.1:port` */
  url: string;
  /** PEM of the certificate authority. */
  ca: string;
  /** A certificate for clients, signed by the same authority. PEM. */
  client: { certificate: string; key: string };
  /** Requests so far, as `METHOD path?query`. */
  requests: string[];
  /** Open connections now. */
  connections(): number;
  /** Answers the next requests; a later call replaces the earlier one. */
  on(handler: (request: IncomingMessage, response: ServerResponse, body: string) => unknown): void;
  /** Cuts all connections. */
  cut(): void;
  close(): Promise<void>;
}

/** Starts a server; its certificate is made for `127.0.0.1` and `api.example`. */
export async function startFaultServer(): Promise<FaultServer> {
  const { ca, server: serverPair, client } = certificates();
  let handle: Parameters<FaultServer['on']>[0] = (_request, response) => {
    response.writeHead(500).end();
  };
  const sockets = new Set<Duplex>();
  const requests: string[] = [];
  const server = https.createServer(
    { key: serverPair.key, cert: serverPair.certificate, ca, requestCert: true, rejectUnauthorized: false },
    (request, response) => {
      requests.push(`${request.method ?? ''} ${request.url ?? ''}`);
      let body = '';
      request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
      request.on('end', () => void handle(request, response, body));
    },
  );
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ca,
    client,
    requests,
    connections: () => sockets.size,
    on: (handler) => {
      handle = handler;
    },
    cut,
    close: async () => {
      cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A kubeconfig with one context `test` for the server; `user` is its user's fields in YAML flow style. */
export function kubeconfigFor(server: FaultServer, user = '{ token: secret-token }', cluster = ''): string {
  return [
    'apiVersion: v1',
    'kind: Config',
    'current-context: test',
    'clusters:',
    `- { name: c, cluster: { server: '${server.url}', certificate-authority-data: ${base64(server.ca)}${cluster} } }`,
    'users:',
    `- { name: u, user: ${user} }`,
    'contexts:',
    '- { name: test, context: { cluster: c, user: u, namespace: demo } }',
  ].join('\n');
}

/** Base64 of a text. */
export function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

/** A Kubernetes `Status`. */
export function status(code: number, reason: string, message: string, details?: object): string {
  return JSON.stringify({ apiVersion: 'v1', kind: 'Status', status: 'Failure', code, reason, message, details });
}

/** Waits until it holds; fails the test after 5 s. */
export async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = Date.now() + 5000;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`Not within 5 s: ${what}`);
    await wait(5);
  }
}

interface Pair {
  certificate: string;
  key: string;
}

function certificates(): { ca: string; server: Pair; client: Pair } {
  const root = keys();
  const ca = sign(root, root, 'test authority', 'test authority', [{ name: 'basicConstraints', cA: true }]);
  const issue = (name: string, extensions: object[]): Pair => {
    const own = keys();
    return { certificate: sign(own, root, name, 'test authority', extensions), key: own.pem };
  };
  return {
    ca,
    server: issue('api server', [
      {
        name: 'subjectAltName',
        altNames: [
          { type: 7, ip: '127.0.0.1' },
          { type: 2, value: 'api.example' },
        ],
      },
    ]),
    client: issue('client', []),
  };
}

interface Keys {
  pem: string;
  private: forge.pki.rsa.PrivateKey;
  public: forge.pki.rsa.PublicKey;
}

function keys(): Keys {
  // Node makes keys much faster than node-forge.
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const pem = privateKey.export({ type: 'pkcs1', format: 'pem' }).toString();
  const own = forge.pki.privateKeyFromPem(pem);
  return { pem, private: own, public: forge.pki.setRsaPublicKey(own.n, own.e) };
}

function sign(subject: Keys, issuer: Keys, name: string, issuerName: string, extensions: object[]): string {
  const certificate = forge.pki.createCertificate();
  certificate.publicKey = subject.public;
  certificate.serialNumber = `01${forge.util.bytesToHex(forge.random.getBytesSync(8))}`;
  certificate.validity.notBefore = new Date(Date.now() - 3_600_000);
  certificate.validity.notAfter = new Date(Date.now() + 86_400_000);
  certificate.setSubject([{ name: 'commonName', value: name }]);
  certificate.setIssuer([{ name: 'commonName', value: issuerName }]);
  certificate.setExtensions(extensions);
  certificate.sign(issuer.private, forge.md.sha256.create());
  return forge.pki.certificateToPem(certificate);
}
