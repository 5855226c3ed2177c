import { describe, expect, it } from 'vitest';
import type { MilvusRelease, Stage, Status } from '../../core/model.ts';
import { contextNode, firstSentence, messageNode, releaseNode, stageNode } from './treeModel.ts';

const target = { context: 'c', namespace: 'default', release: 'my-release' };
const release: MilvusRelease = {
  namespace: 'default',
  name: 'my-release',
  installer: 'helm',
  mode: 'cluster',
  version: '2.5.16',
  service: { apiVersion: 'v1', kind: 'Service', metadata: { name: 'my-release' } },
  port: { name: 'milvus', number: 19530 },
  servers: [],
};
const address: Stage = { id: 'address', title: 'Address', state: 'done', evidence: '34.1.1.1' };
const status = (over: Partial<Status>): Status => ({
  release: 'my-release',
  namespace: 'default',
  exposure: 'both',
  stages: [address],
  findings: [],
  ...over,
});

it('says of a context what is wrong in one line, the whole in the tooltip, and offers to try again', () => {
  const node = contextNode({
    name: 'old',
    current: true,
    server: 'https://1.2.3.4',
    problem: 'gke-gcloud-auth-plugin was not found. Install it.',
  });
  expect(node.description).toBe('current · gke-gcloud-auth-plugin was not found');
  expect(node.tooltip).toBe('old\nhttps://1.2.3.4\ngke-gcloud-auth-plugin was not found. Install it.');
  expect(node.contextValue).toBe('context.retry');
  expect(contextNode({ name: 'x', current: false, server: '' }).contextValue).toBe('context');
});

describe('releaseNode', () => {
  it('is told apart by whether it is behind Layer 7, which decides what is offered', () => {
    expect(releaseNode(target, release, { status: status({}) }).contextValue).toBe('release.layer7');
    const plain = releaseNode(target, release, { status: status({ exposure: 'layer4', stages: [] }) });
    expect(plain.contextValue).toBe('release.layer4');
    expect(plain.expandable).toBe(false);
  });

  it('says its state in words, not only by colour', () => {
    const headline = { text: 'Blocked:', detail: 'DNS is wrong.', tone: 'blocked' } as const;
    const node = releaseNode(target, release, { status: status({}), headline });
    expect(node.description).toBe('default · cluster · 2.5.16 — Blocked: DNS is wrong.');
    expect(node.spoken).toBe('Milvus release my-release, blocked, default, cluster, 2.5.16, Blocked: DNS is wrong.');
    expect(node.icon.color).toBeDefined();
  });

  it('keeps its id over refreshes and apart from the same name elsewhere', () => {
    const id = releaseNode(target, release, {}).id;
    expect(releaseNode(target, release, { status: status({}) }).id).toBe(id);
    expect(releaseNode({ ...target, namespace: 'other' }, release, {}).id).not.toBe(id);
  });
});

it('gives a stage its evidence, its object and its state in words', () => {
  const node = stageNode(target, {
    ...address,
    state: 'late',
    waitsFor: '9 min so far',
    object: { apiVersion: 'networking.k8s.io/v1', kind: 'Ingress', namespace: 'default', name: 'x' },
  });
  expect(node.description).toBe('34.1.1.1 · 9 min so far');
  expect(node.spoken).toBe('Address: late, 34.1.1.1 · 9 min so far');
  expect(node.tooltip).toContain('Ingress default/x');
});

it('offers to try again only where that can help', () => {
  expect(messageNode('a', 'Unreachable.', 'problem', true).contextValue).toBe('message.retry');
  expect(messageNode('a', 'No Milvus found.', 'info', false).contextValue).toBe('message');
});

it('cuts a text after its first sentence, but not at the dots of a name', () => {
  expect(firstSentence('The server 10.1.2.3 cannot be reached. Check the network.')).toBe(
    'The server 10.1.2.3 cannot be reached',
  );
  expect(firstSentence('No dot')).toBe('No dot');
});
