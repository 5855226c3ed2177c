/**
 * Stage 1 of the connection test: does the host name lead to the load balancer?
 */
import { promises as dnsPromises } from 'node:dns';
import { isIP } from 'node:net';
import * as l10n from '@vscode/l10n';
import type { Dns, DnsAnswer } from '../ports.ts';
import { failed, passed, type Outcome } from './outcome.ts';

const queryTimeoutMs = 2000;
const queryTries = 2;
/** The name exists without such a record, or does not exist: an answer, not a failure to ask. */
const noRecordCodes = new Set(['ENODATA', 'ENOTFOUND']);

/**
 * Asks DNS servers directly, past the cache and the hosts file of this machine, so that a record just set is seen.
 * @param servers `address` or `address:port`; the system's when absent or empty. Throws an `Error` with a localised
 * message when one is no IP address.
 */
export function createDns(servers: readonly string[] = []): Dns {
  for (const server of servers)
    try {
      new dnsPromises.Resolver().setServers([server]);
    } catch {
      throw new Error(
        l10n.t(
          '"{0}" is no DNS server: the setting milvusLayer7.dns.servers takes IP addresses, such as 8.8.8.8 or 8.8.8.8:53.',
          server,
        ),
      );
    }
  return {
    async lookup(host, signal) {
      signal?.throwIfAborted();
      const resolver = new dnsPromises.Resolver({ timeout: queryTimeoutMs, tries: queryTries });
      if (servers.length > 0) resolver.setServers(servers);
      const cancel = () => {
        resolver.cancel();
      };
      signal?.addEventListener('abort', cancel, { once: true });
      try {
        return await lookupAll(resolver, host);
      } finally {
        signal?.removeEventListener('abort', cancel);
        signal?.throwIfAborted();
      }
    },
  };
}

async function lookupAll(resolver: dnsPromises.Resolver, host: string): Promise<DnsAnswer> {
  const errors: string[] = [];
  const ask = async <T>(query: Promise<T[]>): Promise<T[]> => {
    try {
      return await query;
    } catch (error) {
      errors.push(codeOf(error));
      return [];
    }
  };
  // RFC 8659 §3: the CAA record of the closest ancestor counts.
  const labels = host.split('.');
  const ancestors = labels.slice(0, -1).map((_, index) => labels.slice(index).join('.'));
  const [a, aaaa, cname, ...caa] = await Promise.all([
    ask(resolver.resolve4(host)),
    ask(resolver.resolve6(host)),
    ask(resolver.resolveCname(host)),
    // CAA matters to a certificate authority only; a server that cannot answer it is no failure of the look-up.
    ...ancestors.map((name) => resolver.resolveCaa(name).catch(() => [])),
  ]);
  const [canonical] = cname;
  const failure = errors.find((code) => !noRecordCodes.has(code));
  const error = failure ?? (a.length + aaaa.length === 0 ? errors[0] : undefined);
  return {
    a,
    aaaa,
    ...(canonical === undefined ? {} : { cname: canonical }),
    caa: (caa.find((records) => records.length > 0) ?? []).map(caaText),
    ...(error === undefined ? {} : { error }),
  };
}

/** As in a zone file: `0 issue "pki.goog"`. */
function caaText(record: { critical: number }): string {
  const [tag, value] = Object.entries(record).find(([key]) => key !== 'critical' && key !== 'type') ?? ['', ''];
  return `${record.critical} ${tag} "${String(value)}"`;
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}

/** RFC 6052 §2.1: made from the A record by a DNS64 resolver, so it leads to the same load balancer. */
const dns64Prefix = '64:ff9b::';

/**
 * Compares what DNS says with the load balancer's address. Goes on with the address whenever it is known, so that one
 * test also tells whether the rest would work.
 * @returns as value the address to connect to
 */
export async function dnsStage(
  dns: Dns,
  host: string,
  address: string | undefined,
  signal: AbortSignal,
): Promise<Outcome<string>> {
  if (isIP(host)) return { state: 'skipped', detail: l10n.t('{0} is an address.', host), value: address ?? host };
  const answer = await dns.lookup(host, signal);
  const aaaa = answer.aaaa.filter((record) => !record.startsWith(dns64Prefix));
  const found = [...answer.a, ...aaaa];
  if (found.length === 0) return withoutAnswer(host, address, answer.error);
  const detail = describe(answer);
  if (address === undefined) return passed(detail, found[0] ?? host);

  const type = isIP(address) === 6 ? 'AAAA' : 'A';
  const own = type === 'A' ? answer.a : aaaa;
  const expected =
    type === 'A'
      ? l10n.t('{0} has the A record {1} and no AAAA record', host, address)
      : l10n.t('{0} has the AAAA record {1} and no A record', host, address);
  const fail = (cause: string, text: string, record: { type: 'A' | 'AAAA'; value: string }): Outcome<string> => ({
    ...failed({ expected, actual: detail, cause, fix: { kind: 'dns', text, record: { ...record, name: host } } }),
    value: address,
  });
  if (!own.includes(address))
    return fail(
      own.length > 0
        ? l10n.t('The name leads to {0}, not to the load balancer at {1}.', own.join(', '), address)
        : l10n.t('The name has no {0} record, so it does not lead to the load balancer at {1}.', type, address),
      l10n.t('Set the {0} record of {1} to {2}', type, host, address),
      { type, value: address },
    );
  const stray = found.find((record) => record !== address);
  if (stray !== undefined) {
    const strayType = isIP(stray) === 6 ? 'AAAA' : 'A';
    return fail(
      l10n.t(
        'Some clients use {0} instead of the load balancer, and Google issues no certificate while it is there.',
        stray,
      ),
      l10n.t('Remove the {0} record {1} of {2}', strayType, stray, host),
      { type: strayType, value: stray },
    );
  }
  return passed(detail, address);
}

/** What it means that DNS gave no address; `error` is the resolver's code. */
export function withoutAnswer(host: string, address: string | undefined, error = 'ENODATA'): Outcome<string> {
  const noServer = !noRecordCodes.has(error);
  const actual = noServer
    ? l10n.t('the DNS server did not answer for {0} ({1})', host, error)
    : l10n.t('{0} has no A record', host);
  if (address !== undefined)
    return {
      state: 'skipped',
      detail: noServer
        ? l10n.t('The DNS server did not answer for {0} ({1}): connecting to {2} directly.', host, error, address)
        : l10n.t('{0} has no A record yet: connecting to {1} directly.', host, address),
      value: address,
    };
  return failed({
    expected: l10n.t('{0} has an A record', host),
    actual,
    cause: noServer
      ? l10n.t('The DNS server cannot be reached or refuses the question.')
      : l10n.t('The record is not set, or not yet known to the DNS server.'),
    fix: noServer
      ? {
          kind: 'advice',
          text: l10n.t('Check the network, or name another server in the setting milvusLayer7.dns.servers.'),
        }
      : { kind: 'advice', text: l10n.t('Set an A record of {0} to the address of the load balancer.', host) },
  });
}

function describe(answer: DnsAnswer): string {
  const records = [
    answer.cname === undefined ? '' : `CNAME ${answer.cname}`,
    answer.a.length > 0 ? `A ${answer.a.join(', ')}` : l10n.t('no A'),
    answer.aaaa.length > 0 ? `AAAA ${answer.aaaa.join(', ')}` : l10n.t('no AAAA'),
  ];
  return records.filter(Boolean).join('; ');
}
