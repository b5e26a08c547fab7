// `npm start`: makes sure that everything is installed and compiled, then becomes the launcher.
import { checkNode, ensureBuild, ensureDependencies, ensureRedis, say } from './ensure-dependencies.js';

try {
  checkNode();
  await ensureDependencies();
  await ensureBuild();
} catch (error) {
  say(error.message);
  process.exit(1);
}
if (!process.env.REDIS_URL) {
  try {
    await ensureRedis();
  } catch (error) {
    say(`Continuing without Redis, which nothing depends on: ${error.message}`);
  }
}
await import('../dist/dev/start.js');
