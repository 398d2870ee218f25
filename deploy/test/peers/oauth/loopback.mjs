// Makes every server of this process listen on the loopback alone, whatever it asks for.
import { Server } from 'node:net';

const { listen } = Server.prototype;
Server.prototype.listen = function loopback(...args) {
  const [first, second] = args;
  if (first !== null && typeof first === 'object') return listen.call(this, { ...first, host: '127.0.0.1' }, ...args.slice(1));
  const rest = args.slice(typeof second === 'string' ? 2 : 1);
  return listen.call(this, { port: first, host: '127.0.0.1' }, ...rest.filter((a) => typeof a === 'function'));
};
