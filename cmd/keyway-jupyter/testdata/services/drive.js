// drive.js MODULES BASE TOKEN MODE: runs a cell with the client library of JupyterLab 4 and of VS Code, leaves
// it after ten lines, and prints as JSON what a second client gets of it, which listens
// under the conditions of VS Code's extension, whose address of the cell it sends, or JupyterLab's id: it resumes a cell with the first message
// of its request that is not idle, misses what comes before its handler is there, and
// ends the cell after the idle status and the reply.
'use strict';
const [modules, base, token, mode] = process.argv.slice(2);
const { KernelManager, ServerConnection } = require(modules + '/@jupyterlab/services');
const WebSocket = require(modules + '/ws');
console.debug = console.warn = () => {};
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));
const until = async (what, is) => {
  for (const end = Date.now() + 60000; !(await is()); await sleep(20)) {
    if (Date.now() > end) throw new Error(what + ': not within a minute');
  }
};
const settings = ServerConnection.makeSettings({
  baseUrl: base, wsUrl: base.replace('http', 'ws'), token, appendToken: true, fetch, Request, Headers, WebSocket
});
const code = `
import time, base64, os
from IPython.display import display, Image
for i in range(60):
    print("line", i, flush=True); time.sleep(0.02)
    if i == 30:
        display(Image(data=base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")))
        while not os.path.exists("${mode}.go"): time.sleep(0.02)
bar = display("bar 0", display_id=True)
for i in range(10): bar.update("bar %d" % i)
print("END")
42`;

const go = () => call('PUT', 'api/contents/' + mode + '.go', { type: 'file', format: 'text', content: '' });

async function call(method, path, body) {
  const answer = await ServerConnection.makeRequest(base + path, { method, body: JSON.stringify(body) }, settings);
  if (!answer.ok) throw new Error(method + ' ' + path + ': ' + answer.status);
  return answer.json();
}

// notebook saves one with the cell, and starts a kernel for it.
async function notebook() {
  const path = mode + '.ipynb', type = 'notebook';
  await call('PUT', 'api/contents/' + path, { type, format: 'json', content: { nbformat: 4, nbformat_minor: 5, metadata: {}, cells: [
    { cell_type: 'code', id: 'aaa', metadata: {}, source: code, outputs: [], execution_count: null }] } });
  return (await call('POST', 'api/sessions', { path, name: path, type, kernel: { name: 'python3' } })).kernel;
}

function second(manager, id, request) {
  const kernel = manager.connectTo({ model: { id, name: 'python3' }, handleComms: true });
  const seen = { outputs: [], resumed: false, idle: false, reply: false };
  let last, clear = false;
  const listen = () => kernel.iopubMessage.connect((_, m) => {
    if (m.parent_header.msg_id !== request) return;
    const type = m.header.msg_type, c = m.content;
    if (type === 'clear_output') {
      if (c.wait) clear = true; else { seen.outputs = []; last = null; }
      return;
    }
    if (clear && type !== 'status') { seen.outputs = []; last = null; clear = false; }
    if (type === 'stream') {
      if (last && last.name === c.name) last.text += c.text; else seen.outputs.push(last = { type, name: c.name, text: c.text });
    } else if (type === 'display_data' || type === 'execute_result') {
      last = null;
      seen.outputs.push({ type, data: c.data, id: c.transient && c.transient.display_id });
    } else if (type === 'update_display_data') {
      seen.outputs.filter(o => o.id && o.id === c.transient.display_id).forEach(o => { o.data = c.data; });
    }
  });
  kernel.anyMessage.connect((_, { direction, msg }) => {
    if (direction !== 'recv' || !msg.parent_header || msg.parent_header.msg_id !== request) return;
    const idle = msg.header.msg_type === 'status' && msg.content.execution_state === 'idle';
    if (!seen.resumed && !idle) { seen.resumed = true; setTimeout(listen, 20); }
    if (seen.resumed && idle) seen.idle = true;
    if (seen.resumed && msg.channel === 'shell') seen.reply = true;
  });
  return [kernel, seen];
}

(async () => {
  const manager = new KernelManager({ serverSettings: settings });
  await manager.ready;
  const first = manager.connectTo({ model: await notebook(), handleComms: true });
  await first.info;
  const future = first.requestExecute({ code, store_history: true }, false, { cellId: mode === 'middle' ? 'aaa' : 'vscode-notebook-cell:/' + mode + '.ipynb#W0sZmlsZQ%3D%3D' });
  const request = future.msg.header.msg_id;
  let text = '';
  future.onIOPub = m => { if (m.header.msg_type === 'stream') text += m.content.text; };
  future.done.catch(() => {});
  await until('ten lines', () => text.includes('line 10\n'));
  const id = first.id;
  first.dispose(); // the window is gone
  const idle = async () => {
    const answer = await ServerConnection.makeRequest(base + 'api/kernels/' + id, {}, settings);
    return (await answer.json()).execution_state === 'idle';
  };
  if (mode !== 'middle') { await go(); await until('the end of the cell', idle); }
  const [kernel, seen] = second(manager, id, request);
  if (mode === 'middle') {
    await until('a connection', () => kernel.connectionStatus === 'connected');
    await until('what was said before', () => mode === 'stock' || seen.outputs.some(o => o.text && o.text.includes('line 30\n')));
    await go();
  }
  if (mode === 'stock') { await kernel.info; await sleep(1000); } else await until('the end of the cell in the second window', () => seen.idle && seen.reply);
  const all = seen.outputs.filter(o => o.type === 'stream').map(o => o.text).join('');
  const lines = [...all.matchAll(/line (\d+)\n/g)].map(m => +m[1]);
  process.stdout.write(JSON.stringify({
    lines: lines.length, ordered: lines.every((v, i) => v === i), pictures: seen.outputs.filter(o => o.data && o.data['image/png']).length,
    bar: (seen.outputs.find(o => o.id) || { data: {} }).data['text/plain'] || '', end: all.includes('END'),
    result: seen.outputs.some(o => o.type === 'execute_result'), ended: seen.idle && seen.reply
  }) + '\n');
  await manager.shutdown(id);
  process.exit(0);
})().catch(e => { console.error(e); process.exit(1); });
