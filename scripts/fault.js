// `npm run fault`: the whole kill matrix, or the cells that the arguments select (--help). `npm run fault -- random`: kills
// at random moments while many chains run. The last line is `N passed, N failed`.
import { compileTests } from './compile-tests.js';
import { checkNode, ensureBuild, ensureDependencies, root, say } from './ensure-dependencies.js';
import { inOwnGroup } from './own-group.js';

await inOwnGroup();
const isRandom = process.argv[2] === 'random';
if (isRandom) process.argv.splice(2, 1);
try {
  checkNode();
  await ensureDependencies();
  process.chdir(root);
  await ensureBuild();
  await compileTests('support', 'fault');
} catch (error) {
  say(error.message);
  process.exit(1);
}
await (isRandom ? import('../dist/test/fault/random-main.js') : import('../dist/test/fault/main.js'));
