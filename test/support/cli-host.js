// Runs one command line after another in a process that has the compiled program loaded: a start costs as much as most
// commands. Each gets its environment and folder, and must leave nothing behind that would keep a process from ending.
import { setImmediate } from 'node:timers/promises';
import { run } from '../../dist/cli/program.js';

const endsWithinMs = 60_000;
const main = new URL('../../dist/cli/main.js', import.meta.url).pathname;
const said = { stdout: '', stderr: '' };
for (const name of ['stdout', 'stderr']) {
  process[name].write = (text, encoding, callback) => {
    said[name] += text.toString();
    (typeof encoding === 'function' ? encoding : callback)?.();
    return true;
  };
}

// An immediate is over by itself.
const open = () =>
  process
    .getActiveResourcesInfo()
    .filter((name) => name !== 'Immediate')
    .sort()
    .join(', ');

process.on('message', async ({ args, env, cwd }) => {
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, env);
  process.chdir(cwd);
  Object.assign(said, { stdout: '', stderr: '' });
  const before = open();
  const code = await run([process.execPath, main, ...args]);
  const deadline = Date.now() + endsWithinMs;
  while (open() !== before && Date.now() < deadline) await setImmediate();
  const left = open() === before ? undefined : `It had ${before} open before, and after it ${open()}.`;
  process.send({ code, ...said, left });
});
process.send('ready');
