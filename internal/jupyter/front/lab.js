// An extension of JupyterLab 4 and Notebook 7, as webpack would build it: gives the cells that run their
// outputs back when a page is opened again, and asks for all they have shown.
(function () {
  'use strict';

  // future is of a request that this page has not sent. The output area of a cell listens to it.
  function future(kernel, execution) {
    var over, all = { msg: { header: { msg_id: execution.msg_id } }, isDisposed: false };
    all.done = new Promise(function (resolve) { over = resolve; });
    all.dispose = function () {
      all.isDisposed = true;
      kernel.anyMessage.disconnect(listen);
      over();
    };
    all.sendInputReply = function (content, parent) { kernel.sendInputReply(content, parent); };
    all.registerMessageHook = all.removeMessageHook = function () {};
    function listen(_, event) {
      var m = event.msg;
      if (event.direction !== 'recv' || !m.parent_header || m.parent_header.msg_id !== execution.msg_id) return;
      if (m.channel === 'iopub') all.onIOPub && all.onIOPub(m);
      if (m.channel === 'stdin') all.onStdin && all.onStdin(m);
      if (m.channel === 'shell') all.onReply && all.onReply(m);
      if (all.heard) all.heard(m);
    }
    kernel.anyMessage.connect(listen);
    return all;
  }

  function alike(panel, code) {
    return panel.content.widgets.filter(function (cell) { return cell.model.type === 'code' && cell.model.sharedModel.getSource() === code; });
  }

  function byId(panel, id) {
    return panel.content.widgets.find(function (cell) { return cell.model.id === id; });
  }

  // cellOf goes by the id only where the file has it: a notebook older than nbformat 4.5 gets others with every page.
  function cellOf(panel, execution, taken) {
    if (execution.cell && panel.content.model.nbformatMinor >= 5) return byId(panel, execution.cell);
    var cells = alike(panel, execution.code);
    return cells[execution.alike] || cells.find(function (cell) { return taken.indexOf(cell) < 0; });
  }

  // tellPlace has a kernel's requests say which of the cells with one source they are of.
  function tellPlace(panel, kernel) {
    var request = kernel.requestExecute;
    kernel.requestExecute = function (content, dispose, metadata) {
      var cell = metadata && metadata.cellId && byId(panel, metadata.cellId);
      if (cell) metadata = Object.assign({ keyway: { alike: alike(panel, content.code).indexOf(cell) } }, metadata);
      return request.call(this, content, dispose, metadata);
    };
  }

  // resume has a cell show an execution until it ends.
  function resume(kernel, cell, execution, ask) {
    var shown = future(kernel, execution);
    function prompt(runs) {
      if ('executionState' in cell.model) cell.model.executionState = runs ? 'running' : 'idle'; // since JupyterLab 4.2
      cell.setPrompt(runs ? '*' : String(cell.model.executionCount || ''));
    }
    shown.heard = function (m) {
      if (m.header.msg_type === 'execute_input') cell.model.executionCount = m.content.execution_count;
      var idle = m.header.msg_type === 'status' && m.content.execution_state === 'idle';
      prompt(!idle);
      if (idle) shown.dispose();
    };
    cell.outputArea.future = shown;
    prompt(true);
    ask();
  }

  function watch(app, panel) {
    var context = panel.sessionContext, resumed = {}; // by client: a page that reconnects gets what it missed by itself
    function look() {
      var kernel = context.session && context.session.kernel;
      if (!kernel || kernel.connectionStatus !== 'connected' || resumed[kernel.clientId] || panel.isDisposed) return;
      resumed[kernel.clientId] = true;
      tellPlace(panel, kernel);
      var at = app.serviceManager.serverSettings.baseUrl + 'keyway/', query = '?kernel=' + encodeURIComponent(kernel.id), taken = [];
      fetch(at + 'executions' + query, { credentials: 'same-origin' }).then(function (answer) {
        return answer.ok ? answer.json() : [];
      }).then(function (executions) {
        executions.forEach(function (execution) {
          var cell = cellOf(panel, execution, taken), here = cell && cell.outputArea.future;
          if (!cell || here && !here.isDisposed && here.msg.header.msg_id === execution.msg_id) return;
          taken.push(cell);
          resume(kernel, cell, execution, function () {
            fetch(at + 'resume' + query + '&session=' + encodeURIComponent(kernel.clientId) +
              '&execution=' + encodeURIComponent(execution.msg_id), { method: 'POST', credentials: 'same-origin' });
          });
        });
      });
    }
    context.connectionStatusChanged.connect(look);
    context.kernelChanged.connect(look);
    Promise.all([context.ready, panel.context.ready, panel.revealed]).then(look, function () {});
  }

  function plugin(tracker) {
    return {
      id: 'keyway:continue', autoStart: true, requires: [tracker],
      activate: function (app, notebooks) {
        notebooks.widgetAdded.connect(function (_, panel) { watch(app, panel); });
        notebooks.forEach(function (panel) { watch(app, panel); });
      }
    };
  }

  var shared;
  (window._JUPYTERLAB = window._JUPYTERLAB || {}).keyway = {
    init: function (scope) { shared = scope; },
    get: function () {
      var versions = shared['@jupyterlab/notebook'];
      return Promise.resolve(versions[Object.keys(versions)[0]].get()).then(function (factory) {
        var found = factory().INotebookTracker;
        return function () { return { __esModule: true, default: plugin(found) }; };
      });
    }
  };
})();
