/**
 * The commands of Milvus' own guide (milvus-io/milvus-docs, site/en/adminGuide/gcp_layer7.md of v2.4.x), literally, for
 * release `my-release` in a namespace of its own.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { tool } from './milvusRelease.ts';

/** The host name in the guide's files. */
export const guideHost = 'my-release.milvus.io';

const tlsYaml = `extraConfigFiles:
  user.yaml: |+
    common:
      security:
        tlsMode: 1
`;

const backendConfig = `apiVersion: cloud.google.com/v1
kind: BackendConfig
metadata:
  name: my-release-backendconfig
  namespace: NAMESPACE
spec:
  healthCheck:
    port: 9091
    requestPath: /healthz
    type: HTTP
`;

const managedCertificate = `apiVersion: networking.gke.io/v1
kind: ManagedCertificate
metadata:
  name: my-release-milvus-tls
  namespace: NAMESPACE
spec:
  domains:
    - my-release.milvus.io
`;

const selfManagedIngress = `apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: my-release-milvus
  namespace: NAMESPACE
spec:
  tls:
  - hosts:
      - my-release.milvus.io
    secretName: my-release-milvus-tls
  rules:
  - host: my-release.milvus.io
    http:
      paths:
      - path: /
        pathType: Prefix
        backend:
          service:
            name: my-release-milvus
            port:
              number: 19530
`;

/** A folder with the guide's files for one namespace, and its commands. */
export class Guide {
  readonly env: NodeJS.ProcessEnv;
  readonly namespace: string;
  #folder: string | undefined;

  constructor(env: NodeJS.ProcessEnv, namespace: string) {
    this.env = env;
    this.namespace = namespace;
  }

  kubectl(...args: string[]): Promise<string> {
    return tool(this.env, 'kubectl', ['-n', this.namespace, ...args]);
  }

  /** Takes Layer 4 away. `extra` stands for what the guide leaves out, such as a chart version. */
  async closeLayer4(...extra: string[]): Promise<void> {
    await this.#helmUpgrade('--set', 'service.type=ClusterIP', ...extra);
  }

  /** Turns TLS on in Milvus. */
  async turnTlsOn(...extra: string[]): Promise<void> {
    await this.#helmUpgrade('-f', await this.#write('tls.yaml', tlsYaml), ...extra);
  }

  async applyBackendConfig(): Promise<void> {
    await this.#apply('backend-config.yaml', backendConfig);
  }

  async annotateService(): Promise<void> {
    await this.kubectl(
      ...['annotate', 'service', 'my-release-milvus', 'cloud.google.com/app-protocols={"milvus":"HTTP2"}'],
      ...['cloud.google.com/backend-config={"default":"my-release-backendconfig"}'],
      ...['cloud.google.com/neg={"ingress": true}', '--overwrite'],
    );
  }

  /** Makes a certificate and its Secret; returns the certificate's file, which lives until {@link forget}. */
  async createCertificate(): Promise<string> {
    const [key, request, certificate] = [
      await this.#write('tls.key', ''),
      await this.#write('tls.csr', ''),
      await this.#write('tls.crt', ''),
    ];
    await tool(this.env, 'openssl', ['genrsa', '-out', key, '2048']);
    await tool(this.env, 'openssl', ['req', '-new', '-key', key, '-out', request, '-subj', `/CN=${guideHost}`]);
    await tool(this.env, 'openssl', [
      ...['x509', '-req', '-days', '99999', '-in', request, '-signkey', key, '-out', certificate],
    ]);
    await this.kubectl('create', 'secret', 'tls', 'my-release-milvus-tls', `--cert=${certificate}`, `--key=${key}`);
    return certificate;
  }

  async applyManagedCertificate(): Promise<void> {
    await this.#apply('managed-certificate.yaml', managedCertificate);
  }

  async applyIngress(): Promise<void> {
    await this.#apply('ingress.yaml', selfManagedIngress);
  }

  /** Deletes the files. */
  async forget(): Promise<void> {
    if (this.#folder !== undefined) await rm(this.#folder, { recursive: true });
    this.#folder = undefined;
  }

  /** Deletes the files and the namespace. */
  async end(): Promise<void> {
    await this.forget();
    await tool(this.env, 'kubectl', ['delete', 'namespace', this.namespace, '--wait=false']);
  }

  async #helmUpgrade(...args: string[]): Promise<void> {
    await tool(this.env, 'helm', ['upgrade', 'my-release', 'milvus/milvus', '-n', this.namespace, ...args]);
  }

  async #apply(name: string, text: string): Promise<void> {
    await this.kubectl('apply', '-f', await this.#write(name, text));
  }

  async #write(name: string, text: string): Promise<string> {
    this.#folder ??= await mkdtemp(path.join(tmpdir(), 'guide-'));
    const file = path.join(this.#folder, name);
    await writeFile(file, text.replaceAll('NAMESPACE', this.namespace));
    return file;
  }
}
