// `npm run bench`: makes sure that everything is installed and compiled, then measures.
import { checkNode, ensureBuild, ensureDependencies, say } from './ensure-dependencies.js';
import { inOwnGroup } from './own-group.js';

await inOwnGroup();
try {
  checkNode();
  await ensureDependencies();
  await ensureBuild();
} catch (error) {
  say(error.message);
  process.exit(1);
}
await import('../dist/bench/main.js');
