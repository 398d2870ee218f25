// GitHub, Google and Microsoft on the loopback for tests, as emulate has them. It prints a
// JSON object with their addresses and ends with its standard input. SEED holds the people and
// the clients, as emulate's configuration has them.
import './loopback.mjs';
import { createServer } from 'node:net';
import { createEmulator } from 'emulate';

// emulate takes 0 for its default, so it is given a port that was free a moment ago.
async function freePort() {
  const probe = createServer();
  await new Promise((done) => { probe.listen(0, '127.0.0.1', done); });
  const { port } = probe.address();
  await new Promise((done) => { probe.close(done); });
  return port;
}

const seed = JSON.parse(process.env.SEED);
const addresses = {};
for (const service of ['github', 'google', 'microsoft']) {
  const port = await freePort();
  const baseUrl = `http://127.0.0.1:${port}`;
  await createEmulator({ service, port, baseUrl, seed });
  addresses[service] = baseUrl;
}
console.log(JSON.stringify(addresses));
process.stdin.on('close', () => process.exit(0)).resume();
