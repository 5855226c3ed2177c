import { expect, it } from 'vitest';
import { pageHtml } from './pageHtml.ts';

const sources = { script: 'https://x/panel.js', style: 'https://x/panel.css', cspSource: 'https://x', language: 'en' };

it('lets no name become markup or leave its attribute', () => {
  const release = `"><script>alert(1)</script>'`;
  const html = pageHtml({ context: 'a&b', namespace: 'n', release }, sources, 'N');
  expect(html.match(/<script/g)).toHaveLength(1);
  const attribute = /data-target="([^"]*)"/.exec(html)?.[1] ?? '';
  const text = attribute
    .replaceAll('&quot;', '"')
    .replaceAll('&#39;', "'")
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&');
  expect(JSON.parse(text)).toEqual({ context: 'a&b', namespace: 'n', release });
});

it('allows scripts and styles by nonce only, and makes a new nonce for each page', () => {
  const page = () => pageHtml({ context: 'c', namespace: 'n', release: 'r' }, sources);
  const html = page();
  const policy = /Content-Security-Policy" content="([^"]*)"/.exec(html)?.[1] ?? '';
  expect(policy).toMatch(/^default-src &#39;none&#39;;/);
  expect(policy).not.toContain('unsafe');
  const nonce = /property="csp-nonce" content="([^"]+)"/.exec(html)?.[1] ?? '';
  expect(nonce.length).toBeGreaterThanOrEqual(24);
  expect(policy).toContain(`script-src &#39;nonce-${nonce}&#39;`);
  expect(html).toContain(`<script nonce="${nonce}"`);
  expect(page()).not.toContain(nonce);
});
