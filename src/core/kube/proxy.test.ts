import { describe, expect, it } from 'vitest';
import { proxyFor, proxyHost } from './proxy.ts';

describe('proxyFor', () => {
  const HTTPS_PROXY = 'http://proxy:3128';
  it.each([
    ['https://api.example', {}, undefined],
    ['https://api.example', { HTTPS_PROXY }, HTTPS_PROXY],
    ['https://api.example', { https_proxy: 'proxy:3128' }, HTTPS_PROXY],
    ['https://api.example', { HTTPS_PROXY: '', https_proxy: HTTPS_PROXY }, HTTPS_PROXY],
    ['https://api.example', { HTTP_PROXY: HTTPS_PROXY }, undefined],
    ['http://api.example', { HTTP_PROXY: HTTPS_PROXY }, HTTPS_PROXY],
    ['https://127.0.0.1:6443', { HTTPS_PROXY }, undefined],
    ['https://localhost:6443', { HTTPS_PROXY }, undefined],
    ['https://[::1]:6443', { HTTPS_PROXY }, undefined],
    ['https://api.example', { HTTPS_PROXY, NO_PROXY: '*' }, undefined],
    ['https://api.example', { HTTPS_PROXY, NO_PROXY: 'other, example' }, undefined],
    ['https://api.example', { HTTPS_PROXY, no_proxy: '.example' }, undefined],
    ['https://api.example', { HTTPS_PROXY, NO_PROXY: '*.example' }, undefined],
    ['https://example', { HTTPS_PROXY, NO_PROXY: '.example' }, HTTPS_PROXY],
    ['https://notexample', { HTTPS_PROXY, NO_PROXY: 'example' }, HTTPS_PROXY],
    ['https://api.example:6443', { HTTPS_PROXY, NO_PROXY: 'api.example:6443' }, undefined],
    ['https://api.example', { HTTPS_PROXY, NO_PROXY: 'api.example:6443' }, HTTPS_PROXY],
    ['https://10.1.2.3', { HTTPS_PROXY, NO_PROXY: '10.0.0.0/8' }, undefined],
    ['https://11.1.2.3', { HTTPS_PROXY, NO_PROXY: '10.0.0.0/8,10.0.0.0/99,x/8' }, HTTPS_PROXY],
    ['https://10.1.2.3', { HTTPS_PROXY, NO_PROXY: '10.1.2.3' }, undefined],
    ['https://[fd00::1]', { HTTPS_PROXY, NO_PROXY: 'fd00::/8' }, undefined],
    ['https://10.1.2.3', { HTTPS_PROXY, NO_PROXY: '2.3' }, HTTPS_PROXY],
  ])('%s with %o: %s', (server, env, proxy) => {
    expect(proxyFor(server, env)).toBe(proxy);
  });

  it('uses the setting of VS Code when the environment names none', () => {
    expect(proxyFor('https://api.example', {}, 'http://code:1')).toBe('http://code:1');
    expect(proxyFor('https://api.example', { HTTPS_PROXY }, 'http://code:1')).toBe(HTTPS_PROXY);
  });

  it('never tells the password of a proxy', () => {
    expect(proxyHost('http://me:pw@proxy:3128')).toBe('proxy:3128');
  });
});
