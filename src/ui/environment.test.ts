import path from 'node:path';
import { expect, it } from 'vitest';
import { expandHome, programEnvironment } from './environment.ts';

it('puts the folders in front of PATH and keeps how PATH is written', () => {
  expect(programEnvironment({ Path: '/bin', A: '1' }, ['/opt/a', '/opt/b'])).toEqual({
    Path: ['/opt/a', '/opt/b', '/bin'].join(path.delimiter),
    A: '1',
  });
  expect(programEnvironment({}, [])).toEqual({ PATH: '' });
});

it('does not hand on what only VS Code understands', () => {
  const env = programEnvironment(
    { PATH: '/bin', ELECTRON_RUN_AS_NODE: '1', VSCODE_PID: '1', NODE_OPTIONS: '-r x' },
    [],
  );
  expect(env).toEqual({ PATH: '/bin' });
});

it('expands the home folder as a shell does', () => {
  expect(expandHome('~/.kube/config', '/home/me')).toBe(path.join('/home/me', '.kube/config'));
  expect(expandHome('~', '/home/me')).toBe('/home/me');
  expect(expandHome('~other/x', '/home/me')).toBe('~other/x');
});
