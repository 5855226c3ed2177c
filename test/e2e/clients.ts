/** Clients as users have them, in Go, Python and Node; and a certificate as a team brings it along. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { getObject, python, tool, type Release } from '../milvusRelease.ts';
import { cacheBin, repository } from '../paths.ts';
import { sandbox } from './environment.ts';

/** Where and how to read. */
export interface Reading {
  namespace: string;
  host: string;
  /** Address of the load balancer: the clients' resolver does not know the sandbox' DNS. */
  address: string;
  release: Release;
  /** PEM of the authority that a client is given. */
  ca: string;
}

const clients = path.join(repository, 'test/clients');
const goClient = path.join(cacheBin, 'read-go');

/** Number of entities that each client reads through Layer 7 on port 443, with the certificate verified. */
export async function readWithClients(reading: Reading): Promise<Record<'go' | 'python' | 'node', number>> {
  const folder = mkdtempSync(path.join(tmpdir(), 'clients-'));
  try {
    const ca = path.join(folder, 'ca.crt');
    writeFileSync(ca, reading.ca);
    const args = [
      ...['--address', `${reading.address}:443`, '--server-name', reading.host],
      ...['--ca', ca, '--collection', reading.release.collection],
    ];
    const { env } = sandbox;
    const read = async (file: string, ...first: string[]): Promise<number> =>
      Number(await tool(env, file, [...first, ...args], 60_000));
    return {
      go: await read(goClient),
      python: await read(python, path.join(clients, 'python/read.py')),
      node: await read(process.execPath, path.join(clients, 'node/read.mjs')),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The authority of a generated certificate: `ca.crt` of the Secret that the host's Ingress names. */
export async function authorityOfIngress(namespace: string, host: string): Promise<string> {
  const text = await tool(sandbox.env, 'kubectl', ['-n', namespace, 'get', 'ingress', '-o', 'json']);
  const { items } = JSON.parse(text) as {
    items: { spec: { rules?: { host?: string }[]; tls?: { secretName?: string }[] } }[];
  };
  const ingress = items.find(({ spec }) => spec.rules?.some((rule) => rule.host === host) === true);
  const secret = ingress?.spec.tls?.[0]?.secretName;
  if (secret === undefined) throw new Error(`The Ingress for ${host} names no Secret.`);
  const object = await getObject<{ data: Record<string, string> }>(sandbox.env, namespace, 'secret', secret);
  const ca = object?.data['ca.crt'];
  if (ca === undefined) throw new Error(`Secret ${namespace}/${secret} has no ca.crt.`);
  return Buffer.from(ca, 'base64').toString('utf8');
}

/** Makes a certificate with an authority of its own by openssl and puts it into a Secret by kubectl; returns the CA. */
export async function createTlsSecret(namespace: string, name: string, host: string): Promise<string> {
  const folder = mkdtempSync(path.join(tmpdir(), 'certificate-'));
  const file = (each: string): string => path.join(folder, each);
  const openssl = async (...args: string[]): Promise<string> => await tool(sandbox.env, 'openssl', args);
  try {
    writeFileSync(file('extensions'), `subjectAltName=DNS:${host}\nextendedKeyUsage=serverAuth\n`);
    await openssl(
      ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '90', '-subj', '/CN=team authority'],
      ...['-keyout', file('ca.key'), '-out', file('ca.crt')],
    );
    await openssl(
      ...['req', '-newkey', 'rsa:2048', '-nodes', '-subj', `/CN=${host}`],
      ...['-keyout', file('tls.key'), '-out', file('tls.csr')],
    );
    await openssl(
      ...['x509', '-req', '-in', file('tls.csr'), '-CA', file('ca.crt'), '-CAkey', file('ca.key'), '-CAcreateserial'],
      ...['-days', '60', '-extfile', file('extensions'), '-out', file('tls.crt')],
    );
    await tool(sandbox.env, 'kubectl', [
      ...['-n', namespace, 'create', 'secret', 'generic', name, '--type', 'kubernetes.io/tls'],
      ...['tls.crt', 'tls.key', 'ca.crt'].map((each) => `--from-file=${each}=${file(each)}`),
    ]);
    return await tool(sandbox.env, 'cat', [file('ca.crt')]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
