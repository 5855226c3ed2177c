import { describe, expect, it } from 'vitest';
import type { KubeObject } from '../model.ts';
import { createObjectSet } from '../kube/objectSet.ts';
import { ingressTrouble } from './trouble.ts';

const now = Date.parse('2026-05-01T10:00:00Z');
const minutesAgo = (minutes: number): string => new Date(now - minutes * 60_000).toISOString();

function ingress(annotations: Record<string, string> = {}): KubeObject {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: { name: 'milvus', namespace: 'default', uid: 'u1', annotations },
  };
}

let sequence = 0;
function event(type: string, message: string, first: number, last: number, uid = 'u1'): KubeObject {
  sequence += 1;
  return {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { name: `event-${sequence}`, namespace: 'default' },
    type,
    reason: 'Sync',
    message,
    involvedObject: { kind: 'Ingress', name: 'milvus', uid },
    firstTimestamp: minutesAgo(first),
    lastTimestamp: minutesAgo(last),
  };
}

const staticIp =
  "Error syncing to GCP: error running load balancer syncing routine: loadbalancer x does not exist: the given static IP name milvus-ip doesn't translate to an existing static IP.";
const chickenAndEgg =
  'Error syncing to GCP: error running load balancer syncing routine: loadbalancer x does not exist: invalid configuration: both HTTP and HTTPS are disabled (kubernetes.io/ingress.allow-http is false and there is no valid TLS configuration); your Ingress will not be able to serve any traffic';

describe('ingressTrouble', () => {
  it('names a static address that does not exist, at once, with the command that reserves it', () => {
    const finding = ingressTrouble(createObjectSet([event('Warning', staticIp, 0, 0)]), ingress(), now);
    expect(finding?.message).toBe('There is no global static address named milvus-ip.');
    expect(finding?.fix).toMatchObject({ command: 'gcloud compute addresses create milvus-ip --global' });
  });

  it('says nothing of the race with a Google-managed certificate', () => {
    const set = createObjectSet([event('Warning', chickenAndEgg, 9, 0)]);
    expect(ingressTrouble(set, ingress({ 'networking.gke.io/managed-certificates': 'tls' }), now)).toBeUndefined();
    expect(ingressTrouble(set, ingress(), now)).toBeDefined();
  });

  it('waits until an error that may heal has been repeated for 3 min', () => {
    const message = 'Error syncing to GCP: error running backend syncing routine: googleapi: Error 404: not found';
    expect(ingressTrouble(createObjectSet([event('Warning', message, 1, 0)]), ingress(), now)).toBeUndefined();
    expect(ingressTrouble(createObjectSet([event('Warning', message, 4, 0)]), ingress(), now)?.message).toContain(
      'Error 404',
    );
  });

  it('forgets a warning once something was built after it', () => {
    const set = createObjectSet([
      event('Warning', staticIp, 5, 4),
      event('Normal', 'ForwardingRule "k8s2-fs-x" created', 1, 1),
    ]);
    expect(ingressTrouble(set, ingress(), now)).toBeUndefined();
  });

  it('does not count events of an older Ingress of the same name', () => {
    expect(ingressTrouble(createObjectSet([event('Warning', staticIp, 0, 0, 'old')]), ingress(), now)).toBeUndefined();
  });
});
