import { describe, expect, it } from 'vitest';
import path from 'node:path';
import { defaultKubeconfigPaths, loadKubeconfig } from './kubeconfig.ts';

const pem = Buffer.from('-----BEGIN CERTIFICATE-----\n').toString('base64');

async function load(files: Record<string, string>, paths = Object.keys(files)) {
  return loadKubeconfig(paths, (file) => {
    const text = files[file];
    return text === undefined
      ? Promise.reject(Object.assign(new Error('no such file'), { code: 'ENOENT' }))
      : Promise.resolve(text);
  });
}

const simple = (name: string, current = '') => `
apiVersion: v1
kind: Config
current-context: "${current}"
clusters:
- name: ${name}
  cluster: { server: "https://${name}.example:6443/" }
users:
- name: ${name}
  user: { token: "token of ${name}" }
contexts:
- name: ${name}
  context: { cluster: ${name}, user: ${name} }
`;

describe('defaultKubeconfigPaths', () => {
  it('takes those of KUBECONFIG, else the one in the home folder', () => {
    const list = ['/a', '', '/b', '/a'].join(path.delimiter);
    expect(defaultKubeconfigPaths({ KUBECONFIG: list }, '/home/me')).toEqual(['/a', '/b']);
    expect(defaultKubeconfigPaths({ KUBECONFIG: '' }, '/home/me')).toEqual(['/home/me/.kube/config']);
    expect(defaultKubeconfigPaths({}, '/home/me')).toEqual(['/home/me/.kube/config']);
  });
});

describe('merging', () => {
  it('takes the first file for a name, and the first current context', async () => {
    const second = simple('a', 'a').replace('a.example', 'other.example').replace('token of a', 'other');
    const merged = await load({ '/1': simple('a'), '/2': second, '/3': simple('b', 'b') });
    expect(merged.contexts.map(({ name, server, file, line }) => ({ name, server, file, line }))).toEqual([
      { name: 'a', server: 'https://a.example:6443', file: '/1', line: 12 },
      { name: 'b', server: 'https://b.example:6443', file: '/3', line: 12 },
    ]);
    expect(merged.current).toBe('a');
    expect(merged.find('a')?.user?.token).toBe('token of a');
    expect(merged.find('c')).toBeUndefined();
    expect(merged.problems).toEqual([]);
  });

  it('lets a context use entries of another file', async () => {
    const contexts = 'contexts: [{ name: x, context: { cluster: a, user: a, namespace: vectors } }]';
    const merged = await load({ '/1': contexts, '/2': simple('a') });
    expect(merged.contexts[0]).toEqual({
      name: 'x',
      cluster: 'a',
      user: 'a',
      namespace: 'vectors',
      server: 'https://a.example:6443',
      file: '/1',
      line: 1,
    });
  });

  it('skips missing and empty files', async () => {
    const merged = await load({ '/empty': '', '/comment': '# nothing\n', '/null': '~', '/1': simple('a') }, [
      '/missing',
      '/empty',
      '/comment',
      '/null',
      '/1',
    ]);
    expect(merged.missing).toEqual(['/missing']);
    expect(merged.problems).toEqual([]);
    expect(merged.contexts).toHaveLength(1);
  });

  it('takes the last of duplicate keys, as kubectl does', async () => {
    const text = `current-context: x
current-context: y
clusters: [{ name: c, cluster: { server: 'https://one', server: 'https://two' } }]
contexts: [{ name: y, context: { cluster: c } }]`;
    const merged = await load({ '/1': text });
    expect(merged.current).toBe('y');
    expect(merged.contexts[0]?.server).toBe('https://two');
    expect(merged.problems).toEqual([]);
  });

  it('does not hold secrets where they would be printed', async () => {
    expect(JSON.stringify(await load({ '/1': simple('a') }))).not.toContain('token of a');
  });

  it('reads JSON, a BOM, anchors, and the first of several documents', async () => {
    const json = JSON.stringify({
      clusters: [{ name: 'j', cluster: { server: 'https://j.example' } }],
      contexts: [{ name: 'j', context: { cluster: 'j' } }],
    });
    const anchors = `users:\n- &u { name: a, user: &v { token: t } }\n- { name: b, user: *v }\n---\nusers: [{ name: c }]\ncontexts: [{ name: c }]`;
    const contexts = 'contexts: [{ name: b, context: { cluster: j, user: b } }]';
    const merged = await load({ '/j': `\uFEFF${json}`, '/a': anchors, '/c': contexts });
    expect(merged.problems).toEqual([]);
    expect(merged.contexts.map((context) => context.name)).toEqual(['j', 'b']);
    expect(merged.find('b')?.user?.token).toBe('t');
  });
});

describe('paths and fields', () => {
  it('takes paths relative to the file', async () => {
    const text = `
clusters: [{ name: c, cluster: { server: 'https://c', certificate-authority: ../ca.crt, insecure-skip-tls-verify: true, tls-server-name: s, proxy-url: 'http://p:1' } }]
users: [{ name: u, user: { client-certificate: c.crt, client-key: /abs/c.key, tokenFile: ./t } }]
contexts: [{ name: x, context: { cluster: c, user: u } }]`;
    const found = (await load({ '/home/me/.kube/config': text })).find('x');
    expect(found?.cluster).toEqual({
      name: 'c',
      server: 'https://c',
      skipTlsVerify: true,
      caFile: '/home/me/ca.crt',
      tlsServerName: 's',
      proxyUrl: 'http://p:1',
    });
    expect(found?.user).toEqual({
      name: 'u',
      certFile: '/home/me/.kube/c.crt',
      keyFile: '/abs/c.key',
      tokenFile: '/home/me/.kube/t',
    });
  });

  it('reads an exec plugin and impersonation', async () => {
    const text = `
clusters: [{ name: c, cluster: { server: 'https://c', certificate-authority-data: ${pem} } }]
users:
- name: u
  user:
    as: bob
    as-groups: [a]
    as-user-extra: { scopes: [x, y] }
    exec:
      apiVersion: client.authentication.k8s.io/v1beta1
      command: gke-gcloud-auth-plugin
      args: [--flag]
      env: [{ name: A, value: b }]
      installHint: Install it
      provideClusterInfo: true
      interactiveMode: IfAvailable
contexts: [{ name: x, context: { cluster: c, user: u } }]`;
    const kubeconfig = await load({ '/k/config': text });
    expect(kubeconfig.problems).toEqual([]);
    const found = kubeconfig.find('x');
    expect(found?.cluster?.caData).toBe(pem);
    expect(found?.user).toEqual({
      name: 'u',
      impersonate: { user: 'bob', groups: ['a'], extra: { scopes: ['x', 'y'] } },
      exec: {
        apiVersion: 'client.authentication.k8s.io/v1beta1',
        command: 'gke-gcloud-auth-plugin',
        args: ['--flag'],
        env: [{ name: 'A', value: 'b' }],
        installHint: 'Install it',
        provideClusterInfo: true,
        interactiveMode: 'IfAvailable',
        folder: '/k',
      },
    });
  });
});

describe('problems', () => {
  const secret = 'ya29.very-secret';

  it.each([
    [
      'broken YAML',
      `users:\n- name: u\n  user: { token: ${secret}\ncontexts: [`,
      4,
      /^This is no valid YAML \([A-Z_]+\)\./,
    ],
    ['an unknown anchor', `users:\n- name: u\n  user: *${secret.slice(0, 4)}`, 3, /^This YAML alias has no anchor\./],
    ['a text instead of a map', secret, 1, /^This is no kubeconfig/],
    ['a list that is none', `users: { u: ${secret} }`, 1, /^users must be a list\./],
    ['an entry that is no map', `users:\n- ${secret}`, 2, /^users\[0\] must be a map\./],
    ['an entry without a name', `users:\n- user: { token: ${secret} }`, 2, /^users\[0\] has no name/],
    ['the same name twice', `users:\n- name: u\n- name: u`, 3, /^users holds u twice; the first one is used\./],
    [
      'a number for a text',
      `users:\n- name: u\n  user: { token: 12345678 }`,
      3,
      /^users\[0\]\.user\.token must be text/,
    ],
    [
      'data that is no PEM',
      `clusters:\n- name: c\n  cluster: { server: 'https://c', certificate-authority-data: '${secret}' }`,
      3,
      /^certificate-authority-data is no base64 of a PEM file/,
    ],
  ])('%s: with file and line, never with the text', async (_case, text, line, message) => {
    const { problems } = await load({ '/broken': text, '/good': simple('a') });
    expect(problems[0]?.message).toMatch(message);
    expect(problems[0]).toMatchObject({ file: '/broken', line });
    expect(JSON.stringify(problems)).not.toContain('ya29');
    expect(JSON.stringify(problems)).not.toContain('12345678');
  });

  it('a broken file or entry does not hide the others', async () => {
    const { contexts } = await load({
      '/broken': 'a: [',
      '/entry': 'contexts: [5, { name: y }]',
      '/good': simple('a'),
    });
    expect(contexts.map((context) => context.name)).toEqual(['y', 'a']);
  });

  it('a file that cannot be read', async () => {
    const denied = await loadKubeconfig(['/x'], () => Promise.reject(Object.assign(new Error(), { code: 'EACCES' })));
    expect(denied.problems).toEqual([{ file: '/x', message: 'This file cannot be read (EACCES).' }]);
  });

  it.each([
    ['{ name: x, context: {} }', 'Context x names no cluster. Add it: kubectl config set-context.'],
    [
      '{ name: x, context: { cluster: no } }',
      'Context x names the cluster no, which is in none of the kubeconfig files.',
    ],
    ['{ name: x, context: { cluster: none } }', 'Cluster none has no server address in the kubeconfig.'],
    ['{ name: x, context: { cluster: odd } }', 'The server address of cluster odd is no http or https URL.'],
    [
      '{ name: x, context: { cluster: c, user: no } }',
      'Context x names the user no, which is in none of the kubeconfig files.',
    ],
    [
      '{ name: x, context: { cluster: c, user: oidc } }',
      'User oidc logs in by the legacy auth-provider oidc, which is not supported. Use an exec plugin instead, for example kubelogin.',
    ],
    ['{ name: x, context: { cluster: c, user: exec } }', 'The exec plugin of user exec has no command.'],
    [
      '{ name: gke_my-project_us-central1_vectors, context: { cluster: c, user: gcp } }',
      'User gcp logs in by the legacy auth-provider gcp, which Kubernetes removed. Install gke-gcloud-auth-plugin, then run: gcloud container clusters get-credentials vectors --location us-central1 --project my-project',
    ],
  ])('a context that cannot be used says why: %s', async (context, problem) => {
    const text = `
clusters: [{ name: none }, { name: odd, cluster: { server: 'tcp://x' } }, { name: c, cluster: { server: 'https://c' } }]
users: [{ name: oidc, user: { auth-provider: { name: oidc } } }, { name: gcp, user: { auth-provider: { name: gcp } } }, { name: exec, user: { exec: {} } }]
contexts: [${context}]`;
    expect((await load({ '/1': text })).contexts[0]?.problem).toBe(problem);
  });

  it('a current context that does not exist is told as it is', async () => {
    const kubeconfig = await load({ '/1': simple('a', 'gone') });
    expect(kubeconfig.current).toBe('gone');
    expect(kubeconfig.find('gone')).toBeUndefined();
  });
});
