import * as l10n from '@vscode/l10n';
import type { KubeConfig } from '@kubernetes/client-node';
import type http from 'node:http';
import type https from 'node:https';
import { KubeError } from './errors.ts';
import { ExecCredentials, type ExecCredential, type ExecCredentialDeps } from './execCredential.ts';
import type { ClusterEntry, ContextEntries, UserEntry } from './kubeconfig.ts';

/** The library's interface, which it does not export. */
type Authenticator = Parameters<KubeConfig['addAuthenticator']>[0];

/** TLS options and headers for one request, and what to call when the API server refuses them. */
export interface RequestOptions {
  headers: http.OutgoingHttpHeaders;
  tls: Pick<https.AgentOptions, 'ca' | 'cert' | 'key' | 'servername' | 'rejectUnauthorized'>;
  /** Basic authentication as `user:password`. */
  auth?: string;
  /** After a 401: drops what can be had anew. Answers whether another try makes sense. */
  refuse(): boolean;
}

export interface CredentialDeps extends ExecCredentialDeps {
  /** Rejects with code `ENOENT` for a missing file. */
  readFile: (file: string) => Promise<string>;
}

/** Private name, so that none of the library's own authenticators (blocking, without limits) ever matches. */
const providerName = 'milvus-layer7';
/** kubectl reads a token file again after a minute (kubernetes/client-go transport/token_source.go). */
const tokenFileHeldMs = 60_000;

/**
 * The credentials of one context. The library's KubeConfig turns them into TLS options and headers; files, exec plugins
 * and impersonation are read here and given to it.
 */
export class ContextCredentials {
  readonly #cluster: ClusterEntry;
  readonly #user: UserEntry;
  readonly #deps: CredentialDeps;
  readonly #newKubeConfig: () => KubeConfig;
  readonly #exec: ExecCredentials | undefined;
  #files: Promise<Files> | undefined;
  #tokenFile: { token: string; until: number } | undefined;

  /** @param newKubeConfig makes the library's class, which lives in another chunk. */
  constructor(entries: ContextEntries, deps: CredentialDeps, newKubeConfig: () => KubeConfig) {
    if (!entries.cluster) throw new TypeError('A context without a cluster has no credentials.');
    this.#cluster = entries.cluster;
    this.#user = entries.user ?? { name: '' };
    this.#deps = deps;
    this.#newKubeConfig = newKubeConfig;
    if (this.#user.exec) this.#exec = new ExecCredentials(this.#user.exec, this.#cluster, deps);
  }

  /** @throws KubeError of kind `credentials` or `config`. */
  async requestOptions(signal?: AbortSignal): Promise<RequestOptions> {
    const files = await (this.#files ??= this.#readFiles());
    const used: { exec?: ExecCredential } = {};
    const options: https.RequestOptions = {};
    await this.#kubeConfig(files, signal, used).applyToHTTPSOptions(options);
    const { ca, cert, key, servername, rejectUnauthorized, auth } = options;
    return {
      headers: (options.headers ?? {}) as http.OutgoingHttpHeaders,
      tls: {
        ...(ca && { ca }),
        ...(cert && { cert }),
        ...(key && { key }),
        ...(servername !== undefined && { servername }),
        ...(rejectUnauthorized !== undefined && { rejectUnauthorized }),
      },
      ...(auth != null && { auth }),
      refuse: () => this.#refuse(files, used.exec),
    };
  }

  /**
   * A KubeConfig for the library's own classes. Always a new one: it caches its agent by name, and would keep an
   * expired client certificate.
   */
  async kubeConfig(proxyUrl: string | undefined): Promise<KubeConfig> {
    return this.#kubeConfig(await (this.#files ??= this.#readFiles()), undefined, {}, proxyUrl);
  }

  dispose(): void {
    this.#exec?.dispose();
  }

  #kubeConfig(
    files: Files,
    signal: AbortSignal | undefined,
    used: { exec?: ExecCredential },
    proxyUrl?: string,
  ): KubeConfig {
    const { server, skipTlsVerify, tlsServerName } = this.#cluster;
    const kubeConfig = this.#newKubeConfig();
    kubeConfig.addAuthenticator(this.#authenticator(signal, used));
    kubeConfig.loadFromClusterAndUser(
      {
        name: 'cluster',
        server,
        // The library refuses plain HTTP (as of `kubectl proxy`) unless this is set; there is no TLS to verify then.
        skipTLSVerify: skipTlsVerify || server.startsWith('http:'),
        ...(files.ca !== undefined && { caData: files.ca }),
        ...(tlsServerName !== undefined && { tlsServerName }),
        ...(proxyUrl !== undefined && { proxyUrl }),
      },
      {
        name: 'user',
        authProvider: { name: providerName },
        ...(files.certificate !== undefined && { certData: files.certificate }),
        ...(files.key !== undefined && { keyData: files.key }),
        ...(this.#user.username !== undefined && {
          username: this.#user.username,
          password: this.#user.password ?? '',
        }),
        ...(this.#user.impersonate?.user !== undefined && { impersonateUser: this.#user.impersonate.user }),
      },
    );
    return kubeConfig;
  }

  #authenticator(signal: AbortSignal | undefined, used: { exec?: ExecCredential }): Authenticator {
    return {
      isAuthProvider: (user) => (user.authProvider as { name?: unknown } | undefined)?.name === providerName,
      applyAuthentication: async (_user, options) => {
        const target = options as https.RequestOptions;
        const headers: http.OutgoingHttpHeaders = { ...(target.headers as http.OutgoingHttpHeaders | undefined) };
        target.headers = headers;
        const exec = await this.#exec?.get(signal);
        if (exec) used.exec = exec;
        if (exec?.certificate !== undefined && exec.key !== undefined) {
          target.cert = exec.certificate;
          target.key = exec.key;
        }
        const token = exec?.token ?? this.#user.token ?? (await this.#readToken());
        if (token !== undefined) headers.Authorization = `Bearer ${token}`;
        const as = this.#user.impersonate;
        if (as?.uid !== undefined) headers['Impersonate-Uid'] = as.uid;
        if (as && as.groups.length > 0) headers['Impersonate-Group'] = as.groups;
        for (const [key, values] of Object.entries(as?.extra ?? {}))
          headers[`Impersonate-Extra-${encodeURIComponent(key)}`] = values;
      },
    };
  }

  #refuse(files: Files, exec: ExecCredential | undefined): boolean {
    // Certificates and tokens in files may have been renewed by another tool since they were read.
    let again = exec ? (this.#exec?.refuse(exec) ?? false) : this.#user.tokenFile !== undefined;
    this.#tokenFile = undefined;
    if (files.fromFiles) {
      this.#files = undefined;
      again = true;
    }
    return again;
  }

  async #readToken(): Promise<string | undefined> {
    const file = this.#user.tokenFile;
    if (file === undefined) return undefined;
    const now = this.#deps.clock.now();
    if (this.#tokenFile && now < this.#tokenFile.until) return this.#tokenFile.token;
    const token = (await this.#read(file, 'tokenFile', this.#user.name)).trim();
    this.#tokenFile = { token, until: now + tokenFileHeldMs };
    return token;
  }

  async #readFiles(): Promise<Files> {
    const { caFile, caData, name } = this.#cluster;
    const user = this.#user;
    // As in kubectl, data wins over a file.
    const data = async (inline: string | undefined, file: string | undefined, field: string, owner: string) =>
      inline ?? (file === undefined ? undefined : Buffer.from(await this.#read(file, field, owner)).toString('base64'));
    try {
      const ca = await data(caData, caFile, 'certificate-authority', name);
      const certificate = await data(user.certData, user.certFile, 'client-certificate', user.name);
      const key = await data(user.keyData, user.keyFile, 'client-key', user.name);
      const fromFiles = user.certData === undefined && user.certFile !== undefined;
      return {
        ...(ca !== undefined && { ca }),
        ...(certificate !== undefined && { certificate }),
        ...(key !== undefined && { key }),
        fromFiles,
      };
    } catch (error) {
      this.#files = undefined;
      throw error;
    }
  }

  async #read(file: string, field: string, owner: string): Promise<string> {
    try {
      return await this.#deps.readFile(file);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
      throw new KubeError({
        kind: 'config',
        message: l10n.t(
          'the file {0}, named as {1} of {2} in the kubeconfig, cannot be read ({3}).',
          file,
          field,
          owner,
          code,
        ),
      });
    }
  }
}

/** Base64 of PEM, as the kubeconfig's data fields. */
interface Files {
  ca?: string;
  certificate?: string;
  key?: string;
  /** Whether the client certificate came from a file. */
  fromFiles: boolean;
}
