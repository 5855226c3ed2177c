import type { TimeFormat } from './panelState.ts';

/** Times as people in front of this screen write them. `language` is a BCP 47 tag such as VS Code's display language. */
export function timeFormat(language: string): TimeFormat {
  const clock = new Intl.DateTimeFormat(language, {
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
  });
  const exact = new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'long' });
  return {
    clock: (at) => (Number.isFinite(at) ? clock.format(at) : ''),
    exact: (at) => (Number.isFinite(at) ? exact.format(at) : ''),
  };
}
