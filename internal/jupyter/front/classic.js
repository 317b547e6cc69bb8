// Gives the cells that run their callbacks back, and asks for all they have shown. Says with each
// request which cell it is of.
require(['base/js/namespace', 'base/js/events', 'notebook/js/codecell', 'services/kernels/kernel'], function (Jupyter, events, codecell, kernels) {
  'use strict';
  var resumed = {}; // by session: a page that reconnects gets what it missed by itself

  function hasIds() { return Jupyter.notebook.nbformat_minor >= 5; }

  function alike(code) {
    return Jupyter.notebook.get_cells().filter(function (cell) { return cell.cell_type === 'code' && cell.get_text() === code; });
  }

  function cellOf(execution) {
    if (execution.cell && hasIds()) return Jupyter.notebook.get_cells().find(function (cell) { return cell.id === execution.cell; });
    var cells = alike(execution.code);
    return cells[execution.alike] || cells.find(function (cell) { return !cell.keywayResumed; });
  }

  var running, execute = codecell.CodeCell.prototype.execute, send = kernels.Kernel.prototype.send_shell_message;
  codecell.CodeCell.prototype.execute = function () {
    running = this;
    try { return execute.apply(this, arguments); } finally { running = undefined; }
  };
  kernels.Kernel.prototype.send_shell_message = function (type, content, callbacks, metadata, buffers) {
    if (type === 'execute_request' && running) {
      metadata = Object.assign({ keyway: { alike: alike(running.get_text()).indexOf(running) } }, metadata);
      if (running.id && hasIds()) metadata.cellId = running.id;
    }
    return send.call(this, type, content, callbacks, metadata, buffers);
  };

  function resume() {
    var kernel = Jupyter.notebook && Jupyter.notebook.kernel;
    if (!kernel || !kernel.id || !Jupyter.notebook._fully_loaded || resumed[kernel.session_id]) return;
    resumed[kernel.session_id] = true;
    var at = Jupyter.notebook.base_url + 'keyway/';
    var query = '?kernel=' + encodeURIComponent(kernel.id);
    fetch(at + 'executions' + query, { credentials: 'same-origin' }).then(function (answer) {
      return answer.ok ? answer.json() : [];
    }).then(function (executions) {
      executions.forEach(function (execution) {
        var cell = cellOf(execution);
        if (!cell || kernel.get_callbacks_for_msg(execution.msg_id)) return;
        cell.keywayResumed = true;
        cell.set_input_prompt('*');
        cell.element.addClass('running');
        cell.last_msg_id = execution.msg_id;
        kernel.set_callbacks_for_msg(execution.msg_id, cell.get_callbacks());
        fetch(at + 'resume' + query + '&session=' + encodeURIComponent(kernel.session_id) +
          '&execution=' + encodeURIComponent(execution.msg_id), { method: 'POST', credentials: 'same-origin' });
      });
    });
  }

  ['kernel_ready.Kernel', 'kernel_connected.Kernel', 'notebook_loaded.Notebook'].forEach(function (event) {
    events.on(event, resume);
  });
  resume();
});
