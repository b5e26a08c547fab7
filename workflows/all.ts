/** What a worker's bundle contains: Temporal looks for workflow types among the exports of one module. */
export { chain } from './chain.js';
export { chat } from './chat.js';
export { chainEnd } from './chain-end.js';
export { retention } from './retention.js';
export { erase } from './erase.js';
export { restore } from './restore.js';
