import { afterEach, describe, expect, it } from 'vitest';
import type { DnsAnswer } from '../ports.ts';
import { createDns, dnsStage } from './dns.ts';
import { Servers } from './servers.fixture.ts';

const host = 'my-release.milvus.io';
const servers = new Servers();
afterEach(async () => {
  await servers.close();
});

describe('createDns', () => {
  it('reads A, AAAA and the CAA record of the closest ancestor', async () => {
    const { port } = await servers.dns({
      [host]: { A: ['34.111.144.65', '35.1.2.3'], AAAA: ['2001:db8::1'] },
      'milvus.io': { CAA: [['issue', 'pki.goog']] },
    });
    expect(await createDns([`127.0.0.1:${port}`]).lookup(host)).toEqual({
      a: ['34.111.144.65', '35.1.2.3'],
      aaaa: ['2001:db8::1'],
      caa: ['0 issue "pki.goog"'],
    });
  });

  it('prefers the CAA record of the name itself', async () => {
    const { port } = await servers.dns({
      [host]: {
        A: ['34.111.144.65'],
        CAA: [
          ['issue', 'letsencrypt.org'],
          ['issuewild', ';'],
        ],
      },
      'milvus.io': { CAA: [['issue', 'pki.goog']] },
    });
    expect((await createDns([`127.0.0.1:${port}`]).lookup(host)).caa).toEqual([
      '0 issue "letsencrypt.org"',
      '0 issuewild ";"',
    ]);
  });

  it('reads a CNAME', async () => {
    const { port } = await servers.dns({ [host]: { CNAME: 'lb.example.com' } });
    expect(await createDns([`127.0.0.1:${port}`]).lookup(host)).toMatchObject({ cname: 'lb.example.com', a: [] });
  });

  it.each([
    ['a name that does not exist', {}, 'ENOTFOUND'],
    ['a name without addresses', { [host]: {} }, 'ENODATA'],
    ['a server that fails', { [host]: { rcode: 2 } }, 'ESERVFAIL'],
    ['a server that refuses', { [host]: { rcode: 5 } }, 'EREFUSED'],
  ])('tells %s', async (_, records, error) => {
    const { port } = await servers.dns(records);
    expect(await createDns([`127.0.0.1:${port}`]).lookup(host)).toEqual({ a: [], aaaa: [], caa: [], error });
  });

  it('stops when it is told to', async () => {
    const { port } = await servers.dns({ [host]: 'silent', 'milvus.io': 'silent' });
    const controller = new AbortController();
    const lookup = createDns([`127.0.0.1:${port}`]).lookup(host, controller.signal);
    controller.abort(new Error('enough'));
    const began = performance.now();
    await expect(lookup).rejects.toThrow('enough');
    expect(performance.now() - began).toBeLessThan(1000);
  });

  it.each(['dns.example.com', '8.8.8.8:dns', ''])('refuses "%s" as a server', (server) => {
    expect(() => createDns([server])).toThrow('milvusLayer7.dns.servers');
  });
});

describe('dnsStage', () => {
  const address = '34.111.144.65';
  const stage = (answer: Partial<DnsAnswer>, expected: string | undefined = address) =>
    dnsStage(
      { lookup: () => Promise.resolve({ a: [], aaaa: [], caa: [], ...answer }) },
      host,
      expected,
      new AbortController().signal,
    );

  it('passes with the one right record', async () => {
    expect(await stage({ a: [address], cname: 'lb.milvus.io' })).toEqual({
      state: 'passed',
      detail: `CNAME lb.milvus.io; A ${address}; no AAAA`,
      value: address,
    });
  });

  it('takes an AAAA record made by DNS64 for none', async () => {
    expect((await stage({ a: [address], aaaa: ['64:ff9b::226f:9041'] })).state).toBe('passed');
  });

  it('takes what DNS says when no address is known', async () => {
    expect(
      await dnsStage(
        { lookup: () => Promise.resolve({ a: ['35.1.2.3'], aaaa: [], caa: [] }) },
        host,
        undefined,
        new AbortController().signal,
      ),
    ).toMatchObject({ state: 'passed', value: '35.1.2.3' });
  });

  it.each<[string, Partial<DnsAnswer>, { type: string; value: string }, string]>([
    ['another A', { a: ['35.1.2.3'] }, { type: 'A', value: address }, 'leads to 35.1.2.3, not to the load balancer'],
    ['only an AAAA', { aaaa: ['2001:db8::1'] }, { type: 'A', value: address }, 'has no A record'],
    [
      'a stray AAAA',
      { a: [address], aaaa: ['2001:db8::1'] },
      { type: 'AAAA', value: '2001:db8::1' },
      'Google issues no certificate',
    ],
    ['a second A', { a: [address, '35.1.2.3'] }, { type: 'A', value: '35.1.2.3' }, 'Some clients use 35.1.2.3'],
  ])('fails for %s, with the record, and goes on with the address', async (_, answer, record, cause) => {
    const outcome = await stage(answer);
    expect(outcome).toMatchObject({
      state: 'failed',
      value: address,
      failure: { fix: { kind: 'dns', record: { name: host, ...record } } },
    });
    expect(outcome.failure?.cause).toContain(cause);
  });

  it('says whether the record or the server is missing', async () => {
    expect((await stage({ error: 'ENOTFOUND' })).detail).toBe(
      `${host} has no A record yet: connecting to ${address} directly.`,
    );
    expect((await stage({ error: 'ESERVFAIL' })).detail).toBe(
      `The DNS server did not answer for ${host} (ESERVFAIL): connecting to ${address} directly.`,
    );
  });
});
