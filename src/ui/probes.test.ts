import { describe, expect, it } from 'vitest';
import type { ProbeReport } from '../core/model.ts';
import { Probes } from './probes.ts';

const target = { context: 'c', namespace: 'n', release: 'r' };
const report = (at: string): ProbeReport => ({
  at,
  host: 'h',
  via: 'address',
  passed: true,
  stages: [{ id: 'dns', state: 'passed', ms: 1, detail: '' }],
});

describe('Probes', () => {
  it('shows stages as they come and keeps the report', async () => {
    const probes = new Probes();
    const seen: string[] = [];
    probes.onChange(() => {
      const view = probes.view(target);
      seen.push(`${String(view?.running)} ${view?.stages.map((stage) => stage.state).join() ?? ''}`);
    });
    await probes.run(target, (onStage) => {
      onStage({ id: 'dns', state: 'running', detail: '' });
      onStage({ id: 'dns', state: 'passed', detail: '' });
      return Promise.resolve(report('1'));
    });
    expect(seen).toEqual(['true ', 'true running', 'true passed', 'false passed']);
    expect(probes.view(target)?.report?.at).toBe('1');
  });

  it('keeps the report before a test that was cancelled', async () => {
    const probes = new Probes();
    await probes.run(target, () => Promise.resolve(report('1')));
    const second = probes.run(
      target,
      (_onStage, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            reject(new Error('aborted'));
          });
        }),
    );
    probes.cancel(target);
    await expect(second).rejects.toThrow('aborted');
    expect(probes.view(target)).toMatchObject({ running: false, report: { at: '1' } });
  });

  it('lets a second test of the same release replace the first, whatever the first still says', async () => {
    const probes = new Probes();
    const { promise, resolve } = Promise.withResolvers<ProbeReport>();
    const first = probes.run(target, () => promise);
    await probes.run(target, () => Promise.resolve(report('2')));
    resolve(report('1'));
    await expect(first).rejects.toThrow();
    expect(probes.view(target)?.report?.at).toBe('2');
  });
});
