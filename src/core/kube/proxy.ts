import net from 'node:net';

/**
 * The proxy for an API server by the environment, with the rules of Go's golang.org/x/net/http/httpproxy, which kubectl
 * uses: HTTPS_PROXY for https, HTTP_PROXY for http, NO_PROXY with names, addresses, CIDR ranges and ports, never for
 * loopback addresses.
 *
 * @param fallback proxy of VS Code's setting `http.proxy`, used when the environment names none.
 * @returns URL of the proxy, which may hold a password.
 */
export function proxyFor(server: string, env: NodeJS.ProcessEnv, fallback?: string): string | undefined {
  const url = new URL(server);
  const secure = url.protocol === 'https:';
  const value = firstSet(...(secure ? [env.HTTPS_PROXY, env.https_proxy] : [env.HTTP_PROXY, env.http_proxy]), fallback);
  if (value === undefined) return undefined;
  const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  const port = url.port || (secure ? '443' : '80');
  if (isLoopback(host) || isExcepted(host, port, firstSet(env.NO_PROXY, env.no_proxy) ?? '')) return undefined;
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(value) ? value : `http://${value}`;
}

function firstSet(...values: (string | undefined)[]): string | undefined {
  return values.find((value) => value !== undefined && value !== '');
}

/** Host and port of a proxy URL, without user and password. */
export function proxyHost(proxy: string): string {
  return URL.canParse(proxy) ? new URL(proxy).host : '';
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (net.isIPv4(host) && host.startsWith('127.'));
}

function isExcepted(host: string, port: string, noProxy: string): boolean {
  return noProxy.split(',').some((entry) => matches(entry.trim().toLowerCase(), host, port));
}

function matches(entry: string, host: string, port: string): boolean {
  if (entry === '') return false;
  if (entry === '*') return true;
  const family = net.isIP(host);
  const [address = '', prefix] = entry.split('/');
  if (prefix !== undefined) {
    const rangeFamily = net.isIP(address);
    const bits = Number(prefix);
    if (rangeFamily === 0 || rangeFamily !== family || !(bits >= 0 && bits <= (family === 6 ? 128 : 32))) return false;
    const list = new net.BlockList();
    list.addSubnet(address, bits, family === 6 ? 'ipv6' : 'ipv4');
    return list.check(host, family === 6 ? 'ipv6' : 'ipv4');
  }
  const withPort = /^(?:\[(.*)\]|([^:]*)):(\d+)$/.exec(entry);
  const name = withPort ? (withPort[1] ?? withPort[2] ?? '') : entry.replace(/^\[|\]$/g, '');
  if (withPort && withPort[3] !== port) return false;
  if (net.isIP(name) !== 0) return name === host;
  if (family !== 0) return false;
  const domain = name.replace(/^\*(?=\.)/, '');
  return domain.startsWith('.') ? host.endsWith(domain) : host === domain || host.endsWith(`.${domain}`);
}
