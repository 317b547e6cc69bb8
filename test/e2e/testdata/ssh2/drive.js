// drive.js HOSTKEY AGENT: all that npm's ssh2 does, as editors use it, by a proxy command.
'use strict';
const assert = require('assert');
const { spawn } = require('child_process');
const { Duplex } = require('stream');
const { Client } = require('ssh2');

const [hostKey, agent] = process.argv.slice(2);
const client = new Client();

function connect() {
  const proxy = spawn('keyway', ['proxy', 'train'], { stdio: ['pipe', 'pipe', 'inherit'] });
  return new Promise((ready, failed) => client.on('ready', ready).on('error', failed).connect({
    sock: Duplex.from({ writable: proxy.stdin, readable: proxy.stdout }),
    username: 'root', agent, agentForward: true, readyTimeout: 60000,
    hostVerifier: (key) => key.equals(Buffer.from(hostKey.split(' ')[1], 'base64')),
  }));
}

// call is a method that ends with a callback.
const call = (method, ...args) => new Promise((good, bad) => client[method](...args, (err, value) => err ? bad(err) : good(value)));

async function gather(stream, input) {
  const out = [];
  stream.on('data', (data) => out.push(data));
  const ended = new Promise((ok) => stream.on('close', (code) => ok(code)));
  stream.end(input);
  const code = await ended;
  return { code, out: Buffer.concat(out).toString() };
}

async function run(command, input, options = {}) {
  const stream = await call('exec', command, options);
  let err = '';
  stream.stderr.on('data', (data) => { err += data; });
  return { ...await gather(stream, input), err: () => err };
}

const socketOf = (path) => `import socket as s; c=s.socket(${path === undefined ? 's.AF_INET' : 's.AF_UNIX'});`;
const echo = (path) => `python3 -c '${socketOf(path)} c.bind(${path === undefined ? '("127.0.0.1",0)' : `"${path}"`}); c.listen()
print(${path === undefined ? 'c.getsockname()[1]' : 0}, flush=True); d,_=c.accept()
while (b := d.recv(9000)): d.sendall(b)'`;
const visit = (to, path) => `python3 -c '${socketOf(path)} c.connect(${to}); c.sendall(b"in"); c.shutdown(1); print(c.recv(9), c.recv(9))'`;

// outward talks to an echo inside, which serves one connection.
async function outward(path, dial) {
  const server = await call('exec', echo(path), {});
  const port = await new Promise((ok) => server.once('data', (line) => ok(Number(line))));
  const got = await gather(await dial(port), 'out');
  assert.strictEqual(got.out, 'out');
}

async function all(round) {
  const { code, out, err } = await run('cat; echo err >&2; exit 8', 'fed');
  assert.deepStrictEqual([code, out, err()], [8, 'fed', 'err\n']);
  const terminal = await run('stty size', '', { pty: { rows: 24, cols: 81, term: 'vt100' } });
  assert.match(terminal.out, /24 81/);
  assert.match((await run('ssh-add -L', '')).out, /^ssh-ed25519 /);

  const socket = `/tmp/ssh2-${round}`;
  await outward(undefined, (port) => call('forwardOut', '127.0.0.1', 1, '127.0.0.1', port));
  await outward(socket, () => call('openssh_forwardOutStreamLocal', socket));
  const port = await call('forwardIn', '127.0.0.1', 0);
  assert.strictEqual((await run(visit(`("127.0.0.1",${port})`), '')).out, "b'in' b''\n");
  await call('unforwardIn', '127.0.0.1', port);
  await call('openssh_forwardInStreamLocal', `${socket}-in`);
  assert.strictEqual((await run(visit(`"${socket}-in"`, ''), '')).out, "b'in' b''\n");
  await call('openssh_unforwardInStreamLocal', `${socket}-in`);

  const text = 'x'.repeat(100000);
  const many = await Promise.all(Array.from({ length: 50 }, (_, i) => run('cat', text + i)));
  many.forEach((r, i) => assert.ok(r.code === 0 && r.out === text + i, `channel ${i}`));
}

async function main() {
  await connect();
  for (const event of ['tcp connection', 'unix connection']) {
    client.on(event, (info, accept) => { const s = accept(); s.pipe(s); });
  }
  const counted = run('for i in 1 2 3 4 5 6 7 8 9; do echo $i; sleep 1; done', '');
  for (let round = 0; round < 3; round++) {
    await all(round);
  }
  assert.strictEqual((await counted).out, '1\n2\n3\n4\n5\n6\n7\n8\n9\n');
  client.end();
}

main().then(() => process.exit(0), (err) => { console.error(err); process.exit(1); });
