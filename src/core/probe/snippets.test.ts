import { transform } from 'esbuild';
import { describe, expect, it } from 'vitest';
import { connectSnippets } from './snippets.ts';

const host = 'my-release.milvus.io';
const address = '34.111.144.65';

function code(options: Parameters<typeof connectSnippets>[0]): Record<string, string> {
  return Object.fromEntries(connectSnippets(options).map((snippet) => [snippet.id, snippet.code]));
}

describe('connectSnippets', () => {
  it('says how to save the certificate authority, where one is needed', () => {
    const secret = { namespace: 'ml', name: 'my-release-milvus-tls', file: 'ca.crt' as const };
    const command =
      "kubectl get secret my-release-milvus-tls --namespace ml --output jsonpath='{.data.ca\\.crt}' | base64 --decode > ca.crt";
    const withCa = code({ host: 'milvus.example', ca: true, secret });
    expect(withCa.pymilvus?.split('\n')[0]).toBe(`# ${command}`);
    expect(withCa.go?.split('\n')[0]).toBe(`// ${command}`);
    expect(code({ host: 'milvus.example', ca: false, secret }).pymilvus).not.toContain('kubectl');
  });

  it('needs nothing but the host name with a public certificate and DNS', () => {
    for (const [id, text] of Object.entries(code({ host, ca: false }))) {
      expect(text, id).toContain(`${host}:443`);
      expect(text, id).not.toMatch(/ca\.crt|serverName|server_name|ServerName|authority|Authority/);
    }
  });

  it('gives every client the certificate authority', () => {
    for (const [id, text] of Object.entries(code({ host, ca: true }))) expect(text, id).toContain('ca.crt');
  });

  it('gives every client the host name when it connects to the address', () => {
    const { pymilvus, node, go, java } = code({ host, address, ca: true });
    for (const text of [pymilvus, node, go, java]) expect(text).toContain(`${address}:443`);
    expect(pymilvus).toContain(`server_name="${host}"`);
    expect(node).toContain(`'grpc.default_authority': '${host}'`);
    expect(node).toContain(`serverName: '${host}'`);
    expect(go).toContain(`grpc.WithAuthority("${host}")`);
    expect(go).toContain(`ServerName: "${host}"`);
    expect(java).toContain(`.serverName("${host}")`);
  });

  it.each([{ ca: false }, { ca: true }, { ca: false, address }, { ca: true, address: '2001:db8::1' }])(
    'is JavaScript for %j',
    async (options) => {
      await expect(
        transform(code({ host, ...options }).node ?? '', { loader: 'js', format: 'esm' }),
      ).resolves.toBeDefined();
    },
  );
});
